"""Running a command that must not be cut short."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path


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
