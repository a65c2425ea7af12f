"""A process enters the lab's network namespace with everything that it starts later, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workstation import namespace

ENTER = """
import os, subprocess, sys, threading
from pathlib import Path
from workstation import namespace

namespace._HANDLE = Path(sys.argv[1])
assert not namespace.in_operator_namespace()
namespace.enter()
assert namespace.in_operator_namespace()
assert namespace.enter_argv() == []
threading.Thread(target=lambda: print(os.readlink("/proc/thread-self/ns/net"), flush=True)).start()
subprocess.run(["readlink", "/proc/self/ns/net"], check=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a network namespace")
def test_later_threads_and_programs_are_in_the_namespace() -> None:
    """A thread or a program outside could send the lab's packets to other machines."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "readlink /proc/self/ns/net; read end"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as inside:  # fmt: skip
        assert inside.stdin
        assert inside.stdout
        there = inside.stdout.readline()
        argv = [sys.executable, "-c", ENTER, f"/proc/{inside.pid}/ns/net"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        inside.stdin.close()
    assert there != f"{Path('/proc/self/ns/net').readlink()}\n"
    assert (done.stdout, done.stderr) == (2 * there, "")


def test_a_process_with_another_thread_does_not_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """That thread would stay outside."""
    monkeypatch.setattr(namespace, "_HANDLE", Path("/proc/self/ns/net"))
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="another thread"):
            namespace.enter()
    finally:
        end.set()
        thread.join()
