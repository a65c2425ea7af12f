"""A change to a live estate goes one host at a time, whichever stack or command it comes from.

New hosts go side by side, but one process at a time works on each: a provider whose engine was killed first finishes
what it had begun. Turns are advisory locks of the operating system: they end with their holder, however that dies. When
a host fails, the others of the same run are left as they are: a bad change then stands on one host and not on all.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from stacks.providers.resource import ResourceFailed
from workstation import paths

RUN = "GOVCLOUD_RUN"
"""Environment variable with the ID of the run; all stacks of one `govcloud up` share it."""


class Turn:
    """A host's turn. `wait` blocks until it has come."""

    def __init__(self, host: str, stream: IO[str]) -> None:
        self._host, self._stream = host, stream
        self.begun = False
        """Whether the host may have been changed: only then does its failure stop the others."""

    def wait(self) -> None:
        """Returns when no other host is being changed. Raises `ResourceFailed` where one of this run has failed."""
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        failed, run = self._failed(), os.environ.get(RUN)
        if run and failed.get("run") == run:
            raise ResourceFailed(f"{self._host}: not changed, because {failed['host']} failed before it in this run")

    def fail(self) -> None:
        """Stop the others of this run."""
        self._stream.seek(0)
        self._stream.truncate()
        json.dump({"run": os.environ.get(RUN, ""), "host": self._host}, self._stream)
        self._stream.flush()

    def _failed(self) -> dict[str, str]:
        self._stream.seek(0)
        try:
            return dict(json.loads(self._stream.read() or "{}"))
        except ValueError:
            return {}


@contextmanager
def turn(host: str) -> Iterator[Turn]:
    """Hold the host's turn after `Turn.wait`, to the end of the block."""
    folder = lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "wave.lock").open("a+", encoding="utf-8") as stream:
        held = Turn(host, stream)
        try:
            yield held
        except ResourceFailed:
            if held.begun:
                held.fail()
            raise


@contextmanager
def alone(host: str, say: Callable[[str], None]) -> Iterator[None]:
    """Work on the host as the only process; one that still finishes an interrupted run is waited for, and told."""
    folder = lock_folder() / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{host}.lock").open("a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{host}: an interrupted run is still at work there; waiting for its end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def lock_folder() -> Path:
    """Beside the state."""
    return paths.home() / "state"
