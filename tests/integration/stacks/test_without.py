"""`--without SITE` with the real engine: an excluded site's hosts are neither refreshed nor changed, and are deployed
later.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks.runs import engine, workspace
from tests.integration.stacks.machines import ESTATE, Machines
from tests.integration.stacks.test_interrupted import log, prepared
from workstation.errors import WrongUse

pytestmark = pytest.mark.nightly

REAL = ESTATE.model_copy(update={"lab": False})
DEAD = "shaoguan"
STACK = ["province"]


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """All machines powered on, and a provider whose hosts are folders."""
    prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(workspace, "_plugin", lambda name, module: None)
    return Machines(tmp_path / "machines", monkeypatch)


def compared(tmp_path: Path) -> set[str]:
    """Return the hosts that were compared since the last call."""
    path = tmp_path / "machines" / "compared"
    found = set(path.read_text().split()) if path.exists() else set()
    path.unlink(missing_ok=True)
    return found


@pytest.mark.nightly
def test_a_site_that_is_dead_from_the_first_build_on_is_deployed_later(machines: Machines, tmp_path: Path) -> None:
    """A site that was never built is excluded, then built.

    A built site is excluded of comparisons too, and its state is kept.
    """
    machines.power_off(DEAD)
    first = engine.up(REAL, STACK, [DEAD])
    assert first.hosts_changed == ("futian-edge1", "nanshan-edge1")
    assert first.deferred == ("shaoguan-edge1",)
    machines.power_on(DEAD)
    second = engine.up(REAL, STACK)
    assert second.hosts_changed == ("shaoguan-edge1",)
    assert second.deferred == ()
    machines.power_off(DEAD)
    compared(tmp_path)
    assert engine.drift(REAL, STACK, [DEAD]).deferred == ("shaoguan-edge1",)
    assert engine.plan(REAL, STACK, [DEAD]).changes == ()
    third = engine.up(REAL, STACK, [DEAD])
    assert (third.changes, third.deferred) == (0, ("shaoguan-edge1",))
    assert compared(tmp_path) == {"futian-edge1", "nanshan-edge1"}
    machines.power_on(DEAD)
    assert engine.up(REAL, STACK).changes == 0
    assert compared(tmp_path) == {"futian-edge1", "nanshan-edge1", "shaoguan-edge1"}
    assert [line for line in log(tmp_path) if line.startswith("begun")].count("begun shaoguan-edge1") == 1


@pytest.mark.parametrize("dead", ["futian"])
def test_a_site_of_several_hosts_is_deferred_after_a_serial_change(
    machines: Machines, tmp_path: Path, dead: str
) -> None:
    """The state records after which host each host was changed.

    So an excluded host also depends on others in the state.
    """
    engine.up(REAL, ["network"])
    engine.up(REAL, ["network"])
    compared(tmp_path)
    machines.power_off(dead)
    deferred = {host.name for host in REAL.hosts_at(dead)}
    for _ in range(2):
        done = engine.up(REAL, ["network"], [dead])
        assert (done.changes, set(done.deferred)) == (0, deferred)
        assert not compared(tmp_path) & deferred
    machines.power_on(dead)
    assert engine.up(REAL, ["network"]).changes == 0
    assert compared(tmp_path) == {host.name for host in REAL.managed_hosts}


@pytest.mark.parametrize(
    ("stacks", "without", "words"),
    [
        (["shaoguan"], ["shaoguan"], "both selected and excluded"),
        ([], ["futian", "nanshan", "shaoguan"], "every site"),
        ([], ["luohu"], "unknown site luohu"),
    ],
)
def test_a_contradiction_is_wrong_use(machines: Machines, stacks: list[str], without: list[str], words: str) -> None:
    with pytest.raises(WrongUse, match=words):
        engine.up(REAL, stacks, without)
