"""Change a live estate one host at a time, across all stacks and commands.

The rollout lock is an advisory lock: the operating system releases it whenever its process ends. If a host fails, the
remaining hosts of the same run are not changed. A bad change then reaches one host and not all hosts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from stacks.providers.host_locks import lock_folder
from stacks.providers.resource import ResourceFailed
from workstation import file_lock

RUN = "GOVCLOUD_RUN"
"""Environment variable with the ID of the run; all stacks of one `govcloud up` share it."""


class RolloutLock:
    """The lock under which one host is changed. `wait` takes it."""

    def __init__(self, host: str, stream: IO[str]) -> None:
        self._host, self._stream = host, stream
        self.begun = False
        """Whether the host may have been changed. Only then does its failure stop the other hosts."""

    def wait(self) -> None:
        """Block until no other host is being changed. Raises `ResourceFailed` if a host of this run has failed."""
        file_lock.lock(self._stream.fileno())
        failed, run = self._failed(), os.environ.get(RUN)
        if run and failed.get("run") == run:
            raise ResourceFailed(f"{self._host}: not changed, because {failed['host']} failed before it in this run")

    def fail(self) -> None:
        """Record the failure, which stops the other hosts of this run."""
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
def rollout_lock(host: str) -> Iterator[RolloutLock]:
    """Yield the lock for this host. After `RolloutLock.wait` it is held until the end of the block."""
    folder = lock_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "wave.lock").open("a+", encoding="utf-8") as stream:
        current = RolloutLock(host, stream)
        try:
            yield current
        except ResourceFailed:
            if current.begun:
                current.fail()
            raise
