"""What was left open is taken back: all of it, whoever listens and whatever fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from failover.drills.undo import UndoContext, roll_back
from failover.journal import Journal, Undo
from failover.protocols import SystemClock


class Mains:
    """Power that is given back, unless it fails."""

    def __init__(self, fails: dict[str, Exception]) -> None:
        self.fails, self.given = fails, list[str]()

    def off(self, target: str) -> None:
        raise AssertionError(target)

    def on(self, target: str) -> None:
        if target in self.fails:
            raise self.fails[target]
        self.given.append(target)

    def is_on(self, target: str) -> bool:
        return target in self.given


class NoMachines:
    """None of these undos needs a host."""

    def run(self, host: str, argv: object, *, stdin: bytes = b"", timeout_s: float = 30.0) -> None:
        raise AssertionError(host)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path)
    for site in ("futian", "nanshan"):
        made.note("begin", "power-off", undo=Undo(kind="power_on", target=site))
    return made


def hands(mains: Mains) -> UndoContext:
    return UndoContext(machines=NoMachines(), power=mains, clock=SystemClock())  # type: ignore[arg-type]


def test_a_terminal_that_has_gone_keeps_no_site_dark(journal: Journal) -> None:
    def tell(undo: Undo) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    mains = Mains({})
    assert len(roll_back(journal, hands(mains), tell)) == 2
    assert mains.given == ["nanshan", "futian"]
    assert not journal.open_undos()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("not ours")])
def test_an_undo_that_fails_in_whatever_way_does_not_keep_the_others(journal: Journal, error: Exception) -> None:
    """It stays open for the next run."""
    mains = Mains({"nanshan": error})
    with pytest.raises(type(error)):
        roll_back(journal, hands(mains), lambda undo: None)
    assert mains.given == ["futian"]
    assert [undo.target for undo in journal.open_undos()] == ["nanshan"]
