"""The worker processes of one command: start them, read their reports, and stop them in order after an interruption.

A worker and its engine form one process group. When the user presses Ctrl-C or this process ends for any reason, the
group gets one signal. Hosts that have started are then finished, the state is written, and the locks are released.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from estate.model import Estate
from stacks.programs import pod_images
from stacks.providers.serial_rollout import RUN
from stacks.runs import workspace
from stacks.runs.reports import Change
from stacks.state import state_files
from workstation import paths, subprocesses
from workstation.oci import OciImage

logger = logging.getLogger(__name__)
OnEvent = Callable[[str], None]
LOW_PRIORITY = ("nice", "-n", "10")
"""Engines have lower priority than services for citizens. On the single machine of a lab they share its processors."""
LAST_LINES = 12
"""Lines of standard error that are shown if a worker ended without a report."""


@dataclass(kw_only=True)
class StackResult:
    """Result of one stack, collected from its worker's reports."""

    stack: str
    changes: list[Change] = field(default_factory=list)
    drift: dict[str, tuple[str, ...]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    done: bool = False
    seconds: float | None = None
    """From the start of the worker to its end. None if it was not started or still runs."""

    def take(self, line: str, on_event: OnEvent) -> None:
        """Add one line of the worker's output. The format is described in `stacks.runs.worker`."""
        for key, value in json.loads(line).items():
            if key == "say":
                on_event(value)
            elif key == "change":
                self.changes.append(change := Change.from_dict(value))
                logger.debug("%s: %s %s", self.stack, change.op, change.host or change.resource)
            elif key == "error" and value and value not in self.errors:
                self.errors.append(value)
            elif key == "ended":
                self.done = value == "done"


class WorkerPool:
    """Runs one operation on stacks, phase by phase. `results` holds the results so far, also after an interruption."""

    def __init__(
        self,
        operation: str,
        estate: Estate,
        without: Sequence[str],
        on_event: OnEvent,
        lock_fd: int | None = None,
        images: Iterable[OciImage] = (),
    ) -> None:
        """Prepare the pool; start nothing.

        `lock_fd` is the descriptor of the lock. The workers inherit it, so that the lock outlives a killed command.
        `images` are the images of the pods.
        """
        self.results: list[StackResult] = []
        self.stopped = ""
        """Why the run was stopped early, or "" if it was not."""
        self._lock_fds = () if lock_fd is None else (lock_fd,)
        self._operation, self._on_event = operation, on_event
        self._request = json.dumps(
            {
                "estate": estate.model_dump(mode="json"),
                "without": list(without),
                "images": pod_images.as_plain(images),
            }
        )
        self._environment = {
            **os.environ,
            **workspace.environment(),
            RUN: uuid.uuid4().hex,
            "PYTHONPATH": str(paths.repo()),
        }
        self._processes: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()

    def run(self, phase: Sequence[str]) -> bool:
        """Run the stacks of a phase in parallel. Return whether the next phase may start.

        On Ctrl-C, wait for the workers and raise KeyboardInterrupt again.
        """
        mine = [StackResult(stack=stack) for stack in phase]
        self.results += mine
        with ThreadPoolExecutor(max_workers=len(mine)) as pool:
            futures = [pool.submit(self._work, result) for result in mine]
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._interrupt(futures)
                raise
        for future in futures:
            future.result()
        return all(result.done for result in mine) and not self.stopped

    def stop(self, reason: str) -> None:
        """Stop the run in order, like Ctrl-C. Any thread may call this."""
        self._on_event(f"{reason}; hosts that have started are finished, no other host is started")
        with self._lock:
            self.stopped = reason
        self._signal()

    def changed(self) -> list[str]:
        """Return the hosts and other resources that were changed so far."""
        return sorted({change.host or change.resource for result in self.results for change in result.changes})

    def _interrupt(self, futures: Sequence[Future[None]]) -> None:
        self._on_event(
            "interrupted: hosts that have started are finished, no other host is started; "
            "a second Ctrl-C stops them immediately"
        )
        self._signal()
        try:
            wait(futures)
        except KeyboardInterrupt:
            self._signal()
            wait(futures)

    def _signal(self) -> None:
        with self._lock:
            for process in self._processes:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGINT)

    def _work(self, result: StackResult) -> None:
        command = [*LOW_PRIORITY, *subprocesses.python_module("stacks.runs.worker", self._operation, result.stack)]
        begun = time.monotonic()
        with self._lock:
            if self.stopped:
                return
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self._environment,
                cwd=state_files.engine_home(),
                start_new_session=True,
                pass_fds=self._lock_fds,
            )
            self._processes.append(process)
        logger.debug("%s: %s begins in process %d", result.stack, self._operation, process.pid)
        with process:
            self._listen(process, result)
        result.seconds = time.monotonic() - begun
        logger.debug("%s: process ended with %d after %.1f s", result.stack, process.returncode, result.seconds)

    def _listen(self, process: subprocess.Popen[str], result: StackResult) -> None:
        """Send the request and read the worker's reports.

        The pipe to the worker stays open as long as this process lives. Its end tells the worker to stop.
        """
        stdin, stdout, stderr = _pipes(process)
        with suppress(BrokenPipeError):
            stdin.write(self._request + "\n")
            stdin.flush()
        with ThreadPoolExecutor(max_workers=1) as pool:
            errors = pool.submit(stderr.read)
            for line in stdout:
                result.take(line, self._on_event)
        lines = errors.result().strip().splitlines()
        if failed := process.wait():
            for line in lines:
                logger.debug("%s: %s", result.stack, line)
        if failed and not result.errors and not self.stopped:
            last = lines[-LAST_LINES:]
            result.errors.append("\n".join(last) or f"ended with {process.returncode}")


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str], IO[str]]:
    pipes: Any = (process.stdin, process.stdout, process.stderr)
    return pipes  # type: ignore[no-any-return]
