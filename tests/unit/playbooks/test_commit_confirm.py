"""Which sessions must be up again before a router's change is kept, and the rollback of a change that is not
confirmed."""

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
    """Return the result of the program's own function."""
    return list(scripts.load(SCRIPT).missing(before, now, wanted))


def test_a_session_that_was_up_must_be_up_again() -> None:
    """Otherwise the change is rolled back."""
    assert missing({ONE: UP, OTHER: UP}, {ONE: UP, OTHER: DOWN}, {ONE, OTHER}) == [OTHER]


def test_a_session_that_was_down_before_is_not_waited_for() -> None:
    """A dead neighbour must not block every change."""
    assert missing({ONE: DOWN}, {ONE: DOWN}, {ONE}) == []


def test_a_removed_neighbour_is_no_loss() -> None:
    """The change removed it on purpose."""
    assert missing({ONE: UP}, {}, set()) == []


def test_a_daemon_that_reports_no_neighbour_has_removed_none() -> None:
    """The daemon is dead, or has not read its configuration yet."""
    assert missing({ONE: UP}, {}, {ONE}) == [ONE]


class Router:
    """A router's files in a folder, and its fake commands: the answers of vtysh in order, and the systemctl calls."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.script: ModuleType = scripts.load(SCRIPT)
        self.config, self.kept = folder / "frr.conf", folder / "previous.conf"
        self.config.write_text(CONFIGURATION)
        self.kept.write_text("the configuration before")
        (folder / "sessions.json").write_text(json.dumps({ONE: UP, OTHER: UP}))
        self.answers: list[tuple[int | None, str]] = []
        self.active = True
        self.hanging: tuple[str, ...] = ()
        self.systemctl_calls: list[list[str]] = []
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
        """Replace the router's own commands. The last answer of vtysh repeats; an answer without a code hangs."""
        if argv[1] == "is-active":
            return subprocess.CompletedProcess(argv, 0 if self.active else 3)
        if argv[0] != "vtysh":
            self.systemctl_calls.append(argv)
            if argv[1] in self.hanging:
                assert timeout, "the call would never end"
                raise subprocess.TimeoutExpired(argv, timeout)
            return subprocess.CompletedProcess(argv, 0)
        code, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if code is None:
            assert timeout, "the call would never end"
            raise subprocess.TimeoutExpired(argv, timeout)
        if check and code:
            raise subprocess.CalledProcessError(code, argv)
        return subprocess.CompletedProcess(argv, code, stdout=text.encode())

    def before_a_change(self) -> None:
        """Remove the backup, and make the configuration one of govcloud."""
        self.kept.unlink()
        self.config.write_text("# Rendered by govcloud\n" + CONFIGURATION)


@pytest.fixture
def router(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Router:
    """Return a router whose configuration was changed a moment ago."""
    return Router(tmp_path, monkeypatch)


def vtysh_answer(*up: str) -> str:
    """Return vtysh's answer with these sessions up."""
    return json.dumps({"peers": {address: {"state": UP} for address in up}})


def test_a_change_after_which_all_sessions_are_up_is_kept(router: Router) -> None:
    """Also if the daemon needs a moment to answer."""
    router.answers = [(1, ""), (1, ""), (0, "{}"), (0, "{}"), (0, vtysh_answer(ONE, OTHER))]
    router.script.confirm()
    assert not router.kept.exists()
    assert router.config.read_text() == CONFIGURATION


@pytest.mark.parametrize(
    "answer", [(1, ""), (0, "{}"), (0, vtysh_answer(ONE))], ids=["dead", "knows no neighbour", "one down"]
)
def test_a_change_that_stops_a_daemon_is_rolled_back(router: Router, answer: tuple[int, str]) -> None:
    """A silent daemon confirms nothing: the previous configuration is restored, and the play names the neighbours."""
    router.answers = [answer]
    with pytest.raises(SystemExit, match=OTHER):
        router.script.confirm()
    assert router.config.read_text() == "the configuration before"
    assert router.systemctl_calls == [["systemctl", "reload-or-restart", "frr.service"]]


SILENT = [(1, ""), (None, ""), (0, ""), (0, "[]")]
IDS = ["fails", "hangs", "says nothing", "says nonsense"]


@pytest.mark.parametrize("answer", SILENT, ids=IDS)
def test_a_running_router_that_does_not_report_its_sessions_is_not_changed(
    router: Router, answer: tuple[int, str]
) -> None:
    """Without recorded sessions, a change that cuts the router off would be confirmed."""
    router.before_a_change()
    router.answers = [answer]
    with pytest.raises(SystemExit, match="systemctl stop frr"):
        router.script.arm()
    assert not router.kept.exists()
    assert router.systemctl_calls == [], "no deadline runs"


@pytest.mark.parametrize("answer", SILENT, ids=IDS)
def test_a_stopped_router_has_no_session_to_lose(router: Router, answer: tuple[int, str]) -> None:
    """Otherwise a stopped router could never be repaired."""
    router.before_a_change()
    router.answers, router.active = [answer], False
    router.script.arm()
    assert router.script.SESSIONS.read_text() == "{}"
    assert router.systemctl_calls == [["systemctl", "restart", router.script.TIMER]]


def test_the_deadline_restores_the_armed_configuration(router: Router) -> None:
    """An operator who is cut off by a change cannot confirm it."""
    router.before_a_change()
    before = router.config.read_text()
    router.answers = [(1, ""), (0, vtysh_answer(ONE)), (0, vtysh_answer(OTHER))]
    router.script.arm()
    assert json.loads(router.script.SESSIONS.read_text()) == {ONE: UP, OTHER: UP}
    router.config.write_text("what cuts the router off")
    router.script.revert()
    assert router.config.read_text() == before
    assert not router.kept.exists()
    assert router.systemctl_calls[-1] == ["systemctl", "reload-or-restart", "frr.service"]


def test_daemons_that_do_not_start_with_the_restored_configuration_are_reported(router: Router) -> None:
    """A hanging daemon is killed first. The backup stays, so that the deadline after the next boot tries again."""
    router.hanging = ("reload-or-restart", "restart")
    with pytest.raises(SystemExit, match="journalctl -u frr"):
        router.script.revert()
    assert [argv[1] for argv in router.systemctl_calls] == ["reload-or-restart", "kill", "restart"]
    assert router.kept.exists()
