"""Starts another command of this project, and runs a command that must not be killed before it has cleaned up."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


def python_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter, from this checkout.

    Without `-P` the current directory would be first on the path. An operator who calls one checkout's `govcloud` from
    the folder of another checkout would then run a mix of both code bases and estates.
    """
    return [sys.executable, "-P", "-m", name, *arguments]


def run_to_completion(
    argv: list[str], *, keep: bool = False, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Run a command. Returns its exit code and, with `keep`, its standard output.

    On Ctrl-C, SIGTERM or SIGHUP (terminal closed), send SIGINT once and wait until the command ends: it may be
    powering a site on, finishing hosts or removing a lab, and it reports its changes. It runs in a process group of its
    own, otherwise the terminal would send SIGINT a second time.
    """
    interrupted = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` ignores it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    with tempfile.TemporaryFile() as kept:
        stdout = kept if keep else None
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stdout, cwd=cwd, env=env, process_group=0
        ) as process:
            while process.returncode is None:
                try:
                    process.wait()
                except KeyboardInterrupt:
                    interrupted = True
                    process.send_signal(signal.SIGINT)
        if interrupted:
            raise KeyboardInterrupt
        kept.seek(0)
        return process.returncode, kept.read()
