"""The worker processes of one command: started, listened to, and ended in order when the command is interrupted.

A worker and its engine are a process group of their own. Ctrl-C, or the end of this process however it comes, reaches
them once: hosts that have begun are finished, the state is written, and the locks are given back.
"""

from __future__ import annotations

import json
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

OnEvent = Callable[[str], None]
YIELDING = ("nice", "-n", "10")
"""Engines come after whatever serves citizens. On the one machine of a lab they would take its processors."""
LAST_LINES = 12
"""Of a worker that ended without a word."""


@dataclass(kw_only=True)
class StackResult:
    """What a worker told about its stack."""

    stack: str
    changes: list[Change] = field(default_factory=list)
    drift: dict[str, tuple[str, ...]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    done: bool = False
    seconds: float | None = None
    """From its worker's start to its end; None where it was not started or still works."""

    def take(self, line: str, on_event: OnEvent) -> None:
        """One line of the worker, as `stacks.runs.worker` describes them."""
        for key, value in json.loads(line).items():
            if key == "say":
                on_event(value)
            elif key == "change":
                self.changes.append(Change.from_dict(value))
            elif key == "fault" and value and value not in self.faults:
                self.faults.append(value)
            elif key == "ended":
                self.done = value == "done"


class WorkerPool:
    """Runs one operation on stacks, phase by phase. `results` holds what came so far, also after an interruption."""

    def __init__(
        self,
        operation: str,
        estate: Estate,
        without: Sequence[str],
        on_event: OnEvent,
        lock_fd: int | None = None,
        images: Iterable[OciImage] = (),
    ) -> None:
        """`lock_fd` is the lock's descriptor: the workers hold it too, so that it outlives a command that is killed.
        `images` are those that pods are started from.
        """
        self.results: list[StackResult] = []
        self.stopped = ""
        """Why the run was ended before its end; empty where it was not."""
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
        """Its stacks side by side; answers whether the next may begin. On Ctrl-C waits for them and raises it again."""
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
        """End the run in order, as Ctrl-C would. May be called from any thread."""
        self._on_event(f"{reason}; hosts that have begun are finished, no other is begun")
        with self._lock:
            self.stopped = reason
        self._signal()

    def changed(self) -> list[str]:
        """Hosts and other resources that were changed so far."""
        return sorted({change.host or change.resource for result in self.results for change in result.changes})

    def _interrupt(self, futures: Sequence[Future[None]]) -> None:
        self._on_event(
            "interrupted: hosts that have begun are finished, no other is begun; a second Ctrl-C cuts them off"
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
        command = [*YIELDING, *subprocesses.python_module("stacks.runs.worker", self._operation, result.stack)]
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
        with process:
            self._listen(process, result)
        result.seconds = time.monotonic() - begun

    def _listen(self, process: subprocess.Popen[str], result: StackResult) -> None:
        """The pipe to the worker stays open as long as this process lives: its end tells the worker to stop."""
        stdin, stdout, stderr = _pipes(process)
        with suppress(BrokenPipeError):
            stdin.write(self._request + "\n")
            stdin.flush()
        with ThreadPoolExecutor(max_workers=1) as pool:
            errors = pool.submit(stderr.read)
            for line in stdout:
                result.take(line, self._on_event)
        if process.wait() and not result.faults and not self.stopped:
            last = errors.result().strip().splitlines()[-LAST_LINES:]
            result.faults.append("\n".join(last) or f"ended with {process.returncode}")


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str], IO[str]]:
    pipes: Any = (process.stdin, process.stdout, process.stderr)
    return pipes  # type: ignore[no-any-return]
