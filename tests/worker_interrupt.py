"""On Ctrl-C in a run with several processes, wait until each process has stopped everything that its tests started.

pytest-xdist alone kills the processes after ten seconds, and machines and daemons would stay behind.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import pytest
from execnet.gateway_base import TimeoutError as StillRunning

ENDS_WITHIN_S = 120


class WorkerInterrupt:
    """Plugin of the process that distributes the tests. The other processes never call it."""

    def __init__(self) -> None:
        self._workers: list[Any] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Record a new process that runs tests."""
        self._workers.append(node)

    def pytest_keyboard_interrupt(self) -> None:
        """Interrupt each process as Ctrl-C interrupts a single one, then wait for its end."""
        for worker in self._workers:
            with suppress(ProcessLookupError):
                os.kill(worker.gateway._io.popen.pid, signal.SIGINT)
        for worker in self._workers:
            with suppress(StillRunning, EOFError, worker.channel.RemoteError):
                worker.channel.waitclose(ENDS_WITHIN_S)
