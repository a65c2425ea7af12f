"""Ctrl-C in a run of several processes: each takes down what its tests have started, and is waited for.

pytest-xdist alone gives them ten seconds and then kills them: machines and daemons would be left behind.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import pytest
from execnet.gateway_base import TimeoutError as StillAtWork

ENDS_WITHIN_S = 120


class WorkerInterrupt:
    """Known to the process that hands tests out; in the others nothing calls it."""

    def __init__(self) -> None:
        self._workers: list[Any] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """One more that runs tests."""
        self._workers.append(node)

    def pytest_keyboard_interrupt(self) -> None:
        """Tell each as Ctrl-C would tell a single process, then wait."""
        for worker in self._workers:
            with suppress(ProcessLookupError):
                os.kill(worker.gateway._io.popen.pid, signal.SIGINT)
        for worker in self._workers:
            with suppress(StillAtWork, EOFError, worker.channel.RemoteError):
                worker.channel.waitclose(ENDS_WITHIN_S)
