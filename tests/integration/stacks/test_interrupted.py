"""An update that is killed at each level of processes: it is reported, no work runs twice at once, the next run
continues.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stacks.runs import workspace
from stacks.runs.workspace import AT_ONCE
from stacks.state import disk_reserve, lock, state_files, store
from tests.integration.stacks.machines import ESTATE, Machines
from tests.polling import until
from workstation import paths
from workstation.errors import Locked

UP = """
import os, sys
from contextlib import nullcontext
from estate.loader import load
from stacks.runs import engine, workspace
from stacks.state import disk_reserve
from workstation.errors import GovcloudError
workspace._plugin = lambda name, module: None
estate = load().model_copy(update={"lab": False})
if "GOVCLOUD_TEST_NO_RESERVE" in os.environ:
    disk_reserve.reserved = lambda on_full: nullcontext()
try:
    done = engine.up(estate, [sys.argv[1]], on_event=lambda line: print(line, flush=True))
    print("done", done.changes)
except GovcloudError as error:
    print(error)
    sys.exit(error.exit_code)
"""
ROUTERS = len(ESTATE.sites)
"""Number of hosts of the stack `province`."""
LONG_S = 300.0
"""A machine under full load is slow, but a hang lasts forever."""
VICTIMS = {"worker": "-m stacks.runs.worker", "engine": "--exec-kind auto.inline", "provider": "held_provider.py"}
"""Processes to kill, by a part of their command line."""


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare a separate state, and the provider whose hosts are folders."""
    workspace.engine_binary()
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(paths.repo()))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    workspace.prepare()
    script = Path(__file__).with_name("held_provider.py")
    plugin = state_files.engine_home() / "bin" / workspace.PLUGIN
    plugin.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n')
    (tmp_path / "home" / "ssh").mkdir()
    (tmp_path / "home" / "ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA operator\n")


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """All machines powered on."""
    prepared(tmp_path, monkeypatch)
    return Machines(tmp_path / "machines", monkeypatch)


@contextmanager
def held(tmp_path: Path) -> Iterator[None]:
    """Block every change of a host until the end of the block."""
    with (tmp_path / "machines" / "hold").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def up(stack: str, *prefix: str) -> subprocess.Popen[str]:
    """Start an operator's `up STACK` in the background."""
    argv = [*prefix, sys.executable, "-c", UP, stack]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(stack: str, *prefix: str) -> str:
    """Run an operator's `up STACK`, which must succeed. Return its output."""
    with up(stack, *prefix) as process:
        words = process.communicate(timeout=LONG_S)[0]
    assert process.returncode == 0, words
    return words


def log(tmp_path: Path) -> list[str]:
    """Return the log of the hosts, in order."""
    path = tmp_path / "machines" / "log"
    return path.read_text().splitlines() if path.exists() else []


def lock_is_free() -> bool:
    """Whether the lock is free, so that the next operator is not refused with exit code 8."""
    try:
        with lock.acquire("the test"):
            return True
    except Locked:
        return False


def one_of(pid: int, words: str) -> int:
    """Return the process below `pid` whose command line contains the words.

    Threads of the engine have children of their own.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and words in _cmdline(entry) and pid in _ancestors(int(entry.name)):
            return int(entry.name)
    raise AssertionError(f"no process {words!r} below {pid}")


def _cmdline(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _ancestors(pid: int) -> set[int]:
    found = set()
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
        found.add(pid)
    return found


def gone(pid: int) -> bool:
    """Whether the process has ended."""
    return not Path(f"/proc/{pid}").exists()


def assert_nothing_twice_at_once(lines: list[str]) -> None:
    """Check that each host's work ends before the next work on this host starts."""
    working: set[str] = set()
    for line in lines:
        what, host = line.split()
        assert (what == "begun") == (host not in working), lines
        working ^= {host}


def test_after_a_killed_command_its_hosts_are_finished_and_the_next_run_continues(
    machines: Machines, tmp_path: Path
) -> None:
    """Hosts that had started are finished and recorded, and no other host starts.

    A second operator gets exit code 8 and the reason.
    """
    with held(tmp_path):
        first = up("network")
        until("hosts have begun", lambda: len(log(tmp_path)) == AT_ONCE, LONG_S)
        first.kill()
        first.communicate(timeout=LONG_S)
        with up("network") as second:
            words = second.communicate(timeout=LONG_S)[0]
        assert second.returncode == 8, words
        assert f"process {first.pid}" in words
        assert "was killed" in words
    until("the workers end", lock_is_free, LONG_S)
    assert len(log(tmp_path)) == 2 * AT_ONCE
    assert f"done {len(ESTATE.managed_hosts) - AT_ONCE}" in finished("network")
    assert_nothing_twice_at_once(log(tmp_path))


@pytest.mark.parametrize(
    "victim", ["engine", *(pytest.param(name, marks=pytest.mark.nightly) for name in VICTIMS if name != "engine")]
)
def test_a_killed_child_process_is_reported_and_the_next_run_continues(
    machines: Machines, tmp_path: Path, victim: str
) -> None:
    """The command ends with exit code 1 and a sentence.

    The next `up` never works on a host at the same time as remaining processes of the first, and it completes.
    """
    with held(tmp_path):
        first = up("province")
        until("hosts have begun", lambda: len(log(tmp_path)) == ROUTERS, LONG_S)
        provider, dying = (one_of(first.pid, VICTIMS[name]) for name in ("provider", victim))
        os.kill(dying, signal.SIGKILL)
        if victim != "worker":  # a killed worker's engine still works on the hosts that had started
            until("the command ends", lambda: first.poll() is not None, LONG_S)
    words = first.communicate(timeout=LONG_S)[0]
    assert first.returncode == 1, words
    assert "province: " in words
    assert "Traceback" not in words
    assert "it continues where it stopped" in words
    until("the provider ends with its engine", lambda: gone(provider), LONG_S)
    until("the engine ends", lock_is_free, LONG_S)
    finished("province")
    assert "done 0" in finished("province")
    assert store.pending("province") == []
    if victim != "provider":
        assert_nothing_twice_at_once(log(tmp_path))


@pytest.mark.parametrize(
    "reserve", [pytest.param(True, id="reserve"), pytest.param(False, id="no-reserve", marks=pytest.mark.nightly)]
)
def test_a_full_disk_under_the_state_is_reported_and_the_next_run_continues(
    machines: Machines, tmp_path: Path, reserve: bool
) -> None:
    """Work that had started is saved with the space of the reserve.

    If the reserve is used up too, the next run continues from the last intact state. No host starts before there is
    disk space again.
    """
    unreserved = () if reserve else ("env", "GOVCLOUD_TEST_NO_RESERVE=")
    folder, size = state_files.state_home(), 3 * disk_reserve.MIN_BYTES
    mount = f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(folder))} && echo mounted && exec cat"
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as small:
        assert small.stdin
        assert small.stdout
        assert small.stdout.readline() == "mounted\n"
        inside = ("nsenter", f"--mount=/proc/{small.pid}/ns/mnt")
        filler = Path(f"/proc/{small.pid}/root{folder}/filler")
        with held(tmp_path):
            first = up("province", *inside, *unreserved)
            until("hosts have begun", lambda: len(log(tmp_path)) == ROUTERS, 60)
            fill(filler)
        words = first.communicate(timeout=LONG_S)[0]
        assert first.returncode == 1, words
        assert ("too full to continue" if reserve else "no space left on device") in words
        assert "Traceback" not in words
        with up("province", *inside) as again:
            words = again.communicate(timeout=LONG_S)[0]
        assert again.returncode == 1, words
        assert "too full to start" in words or "cannot be repaired: No space left" in words
        assert "Traceback" not in words
        filler.unlink()
        words = finished("province", *inside)
        assert not reserve or "done 0" in words, words
        assert "done 0" in finished("province", *inside)
        small.stdin.close()
    assert_nothing_twice_at_once(log(tmp_path))


def fill(path: Path) -> None:
    """Fill the disk to the last byte."""
    with path.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass
