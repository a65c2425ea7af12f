"""Which sessions a router's change must bring back before it is kept, and what becomes of one that does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import scripts

SCRIPT = scripts.PLAYBOOKS / "host_programs" / "commit_confirm.py"
UP, DOWN = "Established", "Active"
ONE, OTHER = "10.0.0.1", "fd00::3"
CONFIGURATION = f"""
router bgp 4200000001
 neighbor {ONE} remote-as 4200000002
 neighbor {ONE} description city
 neighbor {OTHER} remote-as 4200000003
"""


def missing(before: dict[str, str], now: dict[str, str], wanted: set[str]) -> list[str]:
    """The script's own decision."""
    return list(scripts.load(SCRIPT).missing(before, now, wanted))


def test_a_session_that_was_up_has_to_come_back() -> None:
    """Otherwise the change is undone."""
    assert missing({ONE: UP, OTHER: UP}, {ONE: UP, OTHER: DOWN}, {ONE, OTHER}) == [OTHER]


def test_a_session_that_was_down_before_is_not_waited_for() -> None:
    """A dead neighbour must not forbid every change."""
    assert missing({ONE: DOWN}, {ONE: DOWN}, {ONE}) == []


def test_a_neighbour_that_was_taken_out_is_no_loss() -> None:
    """That is what the change is for."""
    assert missing({ONE: UP}, {}, set()) == []


def test_a_daemon_that_names_no_neighbour_has_taken_none_out() -> None:
    """It is dead, or has not read its configuration yet."""
    assert missing({ONE: UP}, {}, {ONE}) == [ONE]


class Router:
    """A router's files in a folder, and its commands: what vtysh says, in turn, and what systemctl was told."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.script: ModuleType = scripts.load(SCRIPT)
        self.config, self.kept = folder / "frr.conf", folder / "previous.conf"
        self.config.write_text(CONFIGURATION)
        self.kept.write_text("the configuration before")
        (folder / "sessions.json").write_text(json.dumps({ONE: UP, OTHER: UP}))
        self.answers: list[tuple[int | None, str]] = []
        self.active = True
        self.deaf: tuple[str, ...] = ()
        self.told: list[list[str]] = []
        for name, value in {
            "CONFIG": self.config,
            "KEPT": self.kept,
            "SESSIONS": folder / "sessions.json",
            "CONFIRM_S": 0.5,
            "POLL_S": 0.01,
        }.items():
            patch.setattr(self.script, name, value)
        patch.setattr(self.script.subprocess, "run", self.run)
        patch.setattr(self.script.shutil, "chown", lambda *_: None)

    def run(
        self, argv: list[str], *, check: bool = False, timeout: float = 0, **_: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """In the place of the router's own commands; the last answer of vtysh stands, and one with no code hangs."""
        if argv[1] == "is-active":
            return subprocess.CompletedProcess(argv, 0 if self.active else 3)
        if argv[0] != "vtysh":
            self.told.append(argv)
            if argv[1] in self.deaf:
                assert timeout, "nobody would end it"
                raise subprocess.TimeoutExpired(argv, timeout)
            return subprocess.CompletedProcess(argv, 0)
        code, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if code is None:
            assert timeout, "nobody would end it"
            raise subprocess.TimeoutExpired(argv, timeout)
        if check and code:
            raise subprocess.CalledProcessError(code, argv)
        return subprocess.CompletedProcess(argv, code, stdout=text.encode())

    def before_a_change(self) -> None:
        """Nothing is kept yet, and the configuration is ours."""
        self.kept.unlink()
        self.config.write_text("# Rendered by govcloud\n" + CONFIGURATION)


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Router:
    """Whose configuration was changed a moment ago."""
    return Router(tmp_path, monkeypatch)


def said(*up: str) -> str:
    """vtysh's answer with these sessions up."""
    return json.dumps({"peers": {address: {"state": UP} for address in up}})


def test_a_change_after_which_all_sessions_are_up_is_kept(router: Router) -> None:
    """Also where the daemon needs a moment to answer."""
    router.answers = [(1, ""), (1, ""), (0, "{}"), (0, "{}"), (0, said(ONE, OTHER))]
    router.script.confirm()
    assert not router.kept.exists()
    assert router.config.read_text() == CONFIGURATION


@pytest.mark.parametrize("answer", [(1, ""), (0, "{}"), (0, said(ONE))], ids=["dead", "knows no neighbour", "one down"])
def test_a_change_that_a_daemon_does_not_survive_is_put_back(router: Router, answer: tuple[int, str]) -> None:
    """Silence of the daemon is no consent: the configuration before is restored, and the play fails with the names."""
    router.answers = [answer]
    with pytest.raises(SystemExit, match=OTHER):
        router.script.confirm()
    assert router.config.read_text() == "the configuration before"
    assert router.told == [["systemctl", "reload-or-restart", "frr.service"]]


SILENT = [(1, ""), (None, ""), (0, ""), (0, "[]")]
IDS = ["fails", "hangs", "says nothing", "says nonsense"]


@pytest.mark.parametrize("answer", SILENT, ids=IDS)
def test_a_router_that_runs_and_does_not_tell_is_not_changed(router: Router, answer: tuple[int, str]) -> None:
    """With no sessions kept, a change that cuts the router off would be confirmed."""
    router.before_a_change()
    router.answers = [answer]
    with pytest.raises(SystemExit, match="systemctl stop frr"):
        router.script.arm()
    assert not router.kept.exists()
    assert router.told == [], "no deadline runs"


@pytest.mark.parametrize("answer", SILENT, ids=IDS)
def test_a_router_that_is_off_has_no_session_to_lose(router: Router, answer: tuple[int, str]) -> None:
    """Or a stopped one could never be repaired."""
    router.before_a_change()
    router.answers, router.active = [answer], False
    router.script.arm()
    assert router.script.SESSIONS.read_text() == "{}"
    assert router.told == [["systemctl", "restart", router.script.TIMER]]


def test_what_the_deadline_does_is_put_the_armed_configuration_back(router: Router) -> None:
    """A change that cut the operator off is confirmed by nobody."""
    router.before_a_change()
    before = router.config.read_text()
    router.answers = [(1, ""), (0, said(ONE)), (0, said(OTHER))]
    router.script.arm()
    assert json.loads(router.script.SESSIONS.read_text()) == {ONE: UP, OTHER: UP}
    router.config.write_text("what cuts the router off")
    router.script.revert()
    assert router.config.read_text() == before
    assert not router.kept.exists()
    assert router.told[-1] == ["systemctl", "reload-or-restart", "frr.service"]


def test_daemons_that_do_not_start_with_the_restored_configuration_are_told(router: Router) -> None:
    """One that hangs is killed first; what is kept stays, so that the deadline after the next boot tries again."""
    router.deaf = ("reload-or-restart", "restart")
    with pytest.raises(SystemExit, match="journalctl -u frr"):
        router.script.revert()
    assert [argv[1] for argv in router.told] == ["reload-or-restart", "kill", "restart"]
    assert router.kept.exists()
