"""Start another command of this project, and run a command that must not be cut short."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


def python_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter, from this checkout.

    Without `-P` the current directory would come first on the path: whoever calls one checkout's `govcloud` while
    standing in another would be given the other's code and estate, halfway through.
    """
    return [sys.executable, "-P", "-m", name, *arguments]


def run_to_completion(
    argv: list[str], *, keep: bool = False, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """A command's exit code and, where it shall be kept, its standard output.

    On Ctrl-C, SIGTERM, or SIGHUP when the terminal goes, the command is told once and waited for: it is giving power
    back, finishing hosts, or taking a lab down, and tells what it has changed. It is in a process group of its own, or
    a terminal would tell it a second time.
    """
    interrupted = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
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
