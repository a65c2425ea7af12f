"""Locks name their holder, and end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.state import lock, state_files
from workstation.errors import Locked

HOLD = """
import sys
from stacks.state import lock
with lock.acquire('govcloud up'):
    print('held', flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    state_files.state_home().mkdir(parents=True)


def _holder() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_the_refusal_names_the_holder_and_a_killed_holder_frees_the_lock() -> None:
    """The refusal has exit code 8 and names process and command. After kill -9 the lock is free at once."""
    with _holder() as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(Locked, match=rf"process {process.pid} \(`govcloud up`\) since ") as refused,
            lock.acquire("x"),
        ):
            pass
        assert refused.value.exit_code == 8
        process.kill()
        process.wait()
    with lock.acquire("x"):
        pass


def _backend_lock(pid: int) -> Path:
    path = state_files.state_home() / ".pulumi" / "locks" / "organization" / "govcloud" / "network" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": pid, "username": "root", "hostname": "h", "timestamp": "2026-01-01T00:00:00Z"}))
    return path


def test_the_backend_lock_of_a_dead_engine_is_removed() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    path = _backend_lock(process.pid)
    assert lock.remove_stale() == ("network",)
    assert not path.exists()


def test_a_reused_process_id_does_not_keep_the_lock() -> None:
    """The process of this test has the ID, but is no engine."""
    path = _backend_lock(os.getpid())
    lock.remove_stale()
    assert not path.exists()


def test_the_lock_of_a_running_engine_is_kept_and_names_it(tmp_path: Path) -> None:
    """An engine whose command was killed still works on its hosts. The next command must wait for it."""
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/cat")
    with subprocess.Popen([str(engine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"running\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"running\n", "until then the process may still have the name python"
        _backend_lock(process.pid)
        try:
            with pytest.raises(Locked, match=f"stack network is locked by process {process.pid}"):
                lock.remove_stale()
        finally:
            process.kill()
