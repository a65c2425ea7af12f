"""A change to a live estate goes one host at a time, whichever stack or command it comes from.

Turns are advisory locks of the operating system: they end with their holder, however that dies. When a host fails, the
others of the same run are left as they are: a bad change then stands on one host and not on all.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from stacks.providers.host_locks import lock_folder
from stacks.providers.resource import ResourceFailed

RUN = "GOVCLOUD_RUN"
"""Environment variable with the ID of the run; all stacks of one `govcloud up` share it."""


class SerialTurn:
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
def turn(host: str) -> Iterator[SerialTurn]:
    """Hold the host's turn after `SerialTurn.wait`, to the end of the block."""
    folder = lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "wave.lock").open("a+", encoding="utf-8") as stream:
        held = SerialTurn(host, stream)
        try:
            yield held
        except ResourceFailed:
            if held.begun:
                held.fail()
            raise
