"""A lock ends with its last holder, names it, and is never taken by two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workstation import file_lock
from workstation.errors import Locked
from workstation.file_lock import Holder

HOLD = """
import subprocess, sys
from pathlib import Path
from workstation import file_lock
from workstation.errors import Locked
with file_lock.acquire(Path(sys.argv[1]), "govcloud up", lambda holder: Locked("held")) as descriptor:
    if "worker" in sys.argv:
        subprocess.Popen(["cat"], pass_fds=[descriptor], stdin=sys.stdin)
    print("held", flush=True)
    sys.stdin.read()
"""


def refusal(holder: Holder | None) -> Locked:
    return Locked(
        f"locked by {holder.command} {holder.pid} {holder.since}" if holder else "locked by an unknown holder"
    )


@contextmanager
def other_process(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the lock. Its first line of output is still to be read."""
    argv = [sys.executable, "-c", HOLD, str(path), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def is_free(path: Path) -> bool:
    try:
        with file_lock.acquire(path, "x", refusal):
            return True
    except Locked:
        return False


def test_the_refusal_knows_the_holder_and_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "lock"
    with other_process(path) as process:
        assert first_line(process) == "held"
        with pytest.raises(Locked, match=rf"govcloud up {process.pid} 20\d\d-"):
            file_lock.acquire(path, "x", refusal).__enter__()
        process.kill()
        process.wait()
        assert path.read_text(), "a killed process leaves its name in the file"
        assert is_free(path)


def test_a_worker_that_inherits_the_descriptor_keeps_the_lock(tmp_path: Path) -> None:
    """The command was killed. Its worker still works, so the next command must be refused until the worker ends."""
    path = tmp_path / "lock"
    with other_process(path, "worker") as process:
        assert first_line(process) == "held"
        process.kill()
        process.wait()
        assert not is_free(path)
        assert process.stdin
        process.stdin.close()  # ends the worker
        with file_lock.wait_for(path, lambda: None):
            pass


def test_the_lock_is_free_after_an_error_in_the_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), file_lock.acquire(tmp_path / "lock", "x", refusal):
        raise KeyError
    assert is_free(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', json.dumps({"what": "drill", "pid": 1}), "\0\0"])
def test_an_unreadable_holder_is_unknown(tmp_path: Path, text: str) -> None:
    """The holder may be between the lock and its name, and another version may write other fields."""
    path = tmp_path / "lock"
    with file_lock.acquire(path, "x", refusal):
        path.write_text(text)
        with pytest.raises(Locked, match="unknown holder"):
            file_lock.acquire(path, "y", refusal).__enter__()


def test_a_full_disk_does_not_prevent_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with file_lock.acquire(tmp_path / "lock", "x", refusal):
        assert not is_free(tmp_path / "lock")


def test_a_waiting_process_reports_once_and_gets_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waiting, entered = threading.Event(), threading.Event()
    reported: list[str] = []

    def report() -> None:
        reported.append("waiting")
        waiting.set()

    def wait() -> None:
        with file_lock.wait_for(path, report):
            entered.set()

    thread = threading.Thread(target=wait)
    with file_lock.acquire(path, "x", refusal):
        thread.start()
        assert waiting.wait(10)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()
    assert reported == ["waiting"]
    with file_lock.wait_for(path, lambda: pytest.fail("the lock is free")):
        pass


def test_a_process_that_waits_for_a_removed_file_locks_the_new_file(tmp_path: Path) -> None:
    """Otherwise it would hold a lock that no other process can find, and two processes would run."""
    path = tmp_path / "lock"
    waiting, entered, leave = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        with file_lock.wait_for(path, waiting.set):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=wait)
    with file_lock.acquire(path, "lab down", refusal):
        thread.start()
        assert waiting.wait(10)
        path.unlink()
    assert entered.wait(10)
    try:
        assert path.exists()
        assert not is_free(path)
    finally:
        leave.set()
        thread.join()
