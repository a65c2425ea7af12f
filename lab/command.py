"""Runs the host's own tools. An error contains the end of their output."""

from __future__ import annotations

import logging
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workstation import namespace
from workstation.errors import GovcloudError

logger = logging.getLogger(__name__)
TIMEOUT_S = 60.0


class LabError(GovcloudError):
    """The host lacks or refuses something that the lab needs."""


def run(argv: Sequence[str], *, stdin: str = "", check: bool = True) -> str:
    """Run a tool of the host and return its standard output.

    Raise `LabError` with the last lines of its output if it fails. Without `check`, a failing exit code is no error.
    """
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is missing on this host", "run ./govcloud setup") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{shlex.join(argv)}: did not end within {TIMEOUT_S:g} s") from None
    logger.debug("%s: exit %d", argv, done.returncode)
    if check and done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{shlex.join(argv)}: {' / '.join(output[-3:]) or f'exit {done.returncode}'}")
    return done.stdout


def wait_for(what: str, condition: Callable[[], bool], *, deadline_s: float, every_s: float = 0.02) -> None:
    """Poll until `condition` is true. Raise `LabError` after the deadline; `what` describes the awaited state."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"timed out after {deadline_s:g} s while waiting until {what}")
        time.sleep(every_s)


@contextmanager
def network_of(handle: Path) -> Iterator[None]:
    """Put the calling thread into the network namespace behind `handle`; other threads stay where they are.

    A socket that is created in the block belongs to that namespace.
    """
    with Path("/proc/thread-self/ns/net").open("rb") as before, handle.open("rb") as there:
        namespace.set_network(there.fileno())
        try:
            yield
        finally:
            namespace.set_network(before.fileno())
