"""Run one operation on one stack in one process.

Pulumi keeps a program's settings per process, so each program needs its own process.

    python -m stacks.runs.worker OPERATION STACK

The request is one line of JSON on standard input: {"estate": {…}, "without": […], "images": […]}. Reports go to
standard output, one JSON object per line: {"say": …}, {"change": …}, {"error": …} and at the end {"ended":
"done"|"failed"}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from pulumi.automation.errors import CommandError
from pulumi.automation.events import EngineEvent, StepEventMetadata

from estate.model import Estate
from stacks.phases import PLATFORM
from stacks.programs import pod_images
from stacks.programs.context import Context, current_context, excluded_urns
from stacks.programs.program import program
from stacks.runs import events, fingerprint, preflight, state_repair, workspace
from stacks.state import checkpoints
from workstation.errors import GovcloudError

UP, PLAN, DESTROY = "up", "plan", "destroy"

Report = Callable[[str, Any], None]


def main(argv: list[str]) -> int:
    """Run the operation. Return exit code 0 on success, 1 on failure."""
    operation, stack = argv
    signal.signal(signal.SIGINT, lambda *_: None)  # the engine gets it too and stops in order; then we end
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    report = Reporter()
    try:
        images = pod_images.from_plain(request["images"])
        context = current_context(Estate.model_validate(request["estate"]), stack, request["without"], images)
        _OPERATIONS[operation](context, stack, report)
    except CommandError as error:
        return _failed(report, "" if report.errors else events.startup_error(str(error)))
    except GovcloudError as error:
        return _failed(report, str(error))
    except OSError as error:
        return _failed(report, f"{error.filename or 'the state'}: {error.strerror or error}")
    report("ended", "done")
    return 0


def _failed(report: Report, error: str) -> int:
    if error:
        report("error", error)
    report("ended", "failed")
    return 1


def _end_with_the_command() -> None:
    """Stop the engine if the command dies.

    The command keeps the other end of standard input open as long as it lives.
    """
    os.read(0, 1)
    os.killpg(0, signal.SIGINT)


class Reporter:
    """Writes reports to standard output. Output of all other code goes to standard error."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self.errors = 0
        """Number of reported errors. If it is not 0, the engine's final error only repeats them."""

    def __call__(self, key: str, value: Any) -> None:
        with self._lock:
            self.errors += key == "error"
            self._stream.write(json.dumps({key: value}) + "\n")


def _up(context: Context, stack: str, report: Report) -> None:
    if stack == PLATFORM:
        preflight.check_clusters(context, patience_s=preflight.COMING_UP_S)
    state_repair.drop_pending_operations(stack, lambda line: report("say", line))
    fingerprint.invalidate(stack)
    opened = workspace.open_stack(stack, program(context, stack))
    checkpoints.back_up(stack)
    opened.up(
        refresh=True,
        # Without the program, the engine would use the cluster credentials in the state, which may have expired.
        run_program=stack == PLATFORM,
        exclude=excluded_urns(context, stack) or None,
        **workspace.RUN_OPTIONS,
        on_event=Listener(stack, report),
    )
    now = current_context(context.estate, stack, context.without, context.images.values())
    fingerprint.save(now, stack)


def _plan(context: Context, stack: str, report: Report) -> None:
    if stack == PLATFORM:
        preflight.check_clusters(context, only=context.clusters)
    opened = workspace.open_stack(stack, program(context, stack))
    opened.preview(
        refresh=True,
        run_program=stack == PLATFORM,
        exclude=excluded_urns(context, stack) or None,
        **workspace.RUN_OPTIONS,
        on_event=Listener(stack, report, planned=True),
    )


def _destroy(context: Context, stack: str, report: Report) -> None:
    if context.first_build:
        return
    if stack == PLATFORM:
        # `pulumi destroy` would delete every object, and wait for clusters that may be dead.
        state_repair.drop_resources(stack)
        return
    state_repair.drop_pending_operations(stack, lambda line: report("say", line))
    opened = workspace.open_stack(stack, lambda: None)
    checkpoints.back_up(stack)
    opened.unprotect_all()
    opened.destroy(
        run_program=False,
        suppress_outputs=True,
        suppress_progress=True,
        on_event=Listener(stack, report),
    )


_OPERATIONS = {UP: _up, PLAN: _plan, DESTROY: _destroy}


class Listener:
    """Reports the engine's events of one stack, with the seconds that each step took."""

    def __init__(self, stack: str, report: Report, planned: bool = False) -> None:
        self._stack, self._report, self._planned = stack, report, planned
        self._begun: dict[str, float] = {}

    def __call__(self, event: EngineEvent) -> None:
        if event.resource_pre_event:
            self._begins(event.resource_pre_event.metadata)
        if event.res_outputs_event and not self._planned:
            self._ends(event.res_outputs_event.metadata)
        if event.diagnostic_event:
            _diagnostic(event, self._report)

    def _begins(self, step: StepEventMetadata) -> None:
        self._begun[step.urn] = time.monotonic()
        change = events.change_of(self._stack, step)
        if change and self._planned:
            self._report("change", asdict(change))
        elif change and change.host:
            self._report("say", f"{change.host}: {self._stack}: {change.op}")
        elif change and self._stack == PLATFORM:
            self._report("say", f"{change.resource}: {change.op}")

    def _ends(self, step: StepEventMetadata) -> None:
        if change := events.change_of(self._stack, step):
            begun = self._begun.get(step.urn)
            took = None if begun is None else time.monotonic() - begun
            self._report("change", asdict(replace(change, seconds=took)))


def _diagnostic(event: EngineEvent, report: Report) -> None:
    assert event.diagnostic_event
    for error in events.errors_of(event.diagnostic_event):
        report("error", error)
    if line := events.progress_of(event):
        report("say", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
