"""One stack, one operation, one process: a program's settings are kept per process, so programs do not share one.

    python -m stacks.runs.worker OPERATION STACK

The request is one line of JSON on standard input: {"estate": {…}, "without": […], "images": […]}. Answers go line by
line, as JSON, to standard output: {"say": …}, {"change": …}, {"fault": …} and at the end {"ended": "done"|"failed"}.
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

Tell = Callable[[str, Any], None]


def main(argv: list[str]) -> int:
    """Run the operation. Exit code 0 when done, 1 when failed."""
    operation, stack = argv
    signal.signal(signal.SIGINT, lambda *_: None)  # the engine gets it too and ends in order; its end is ours
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    tell = Teller()
    try:
        images = pod_images.from_plain(request["images"])
        context = current_context(Estate.model_validate(request["estate"]), stack, request["without"], images)
        _OPERATIONS[operation](context, stack, tell)
    except CommandError as error:
        return _failed(tell, "" if tell.faults else events.startup_error(str(error)))
    except GovcloudError as error:
        return _failed(tell, str(error))
    except OSError as error:
        return _failed(tell, f"{error.filename or 'the state'}: {error.strerror or error}")
    tell("ended", "done")
    return 0


def _failed(tell: Tell, fault: str) -> int:
    if fault:
        tell("fault", fault)
    tell("ended", "failed")
    return 1


def _end_with_the_command() -> None:
    """The command holds the other end of standard input open: when that closes, the command is dead."""
    os.read(0, 1)
    os.killpg(0, signal.SIGINT)


class Teller:
    """Standard output belongs to the answers alone: whatever else prints goes to standard error."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self.faults = 0
        """How many were told: the engine's last words only repeat them."""

    def __call__(self, key: str, value: Any) -> None:
        with self._lock:
            self.faults += key == "fault"
            self._stream.write(json.dumps({key: value}) + "\n")


def _up(context: Context, stack: str, tell: Tell) -> None:
    if stack == PLATFORM:
        preflight.check_clusters(context, patience_s=preflight.COMING_UP_S)
    state_repair.drop_pending_operations(stack, lambda line: tell("say", line))
    fingerprint.invalidate(stack)
    opened = workspace.open_stack(stack, program(context, stack))
    checkpoints.back_up(stack)
    opened.up(
        refresh=True,
        run_program=stack == PLATFORM,  # or clusters would be entered with what the state holds, perhaps expired
        exclude=excluded_urns(context, stack) or None,
        **workspace.QUIETLY,
        on_event=Listener(stack, tell),
    )
    now = current_context(context.estate, stack, context.without, context.images.values())
    fingerprint.save(now, stack)


def _plan(context: Context, stack: str, tell: Tell) -> None:
    if stack == PLATFORM:
        preflight.check_clusters(context, only=context.clusters)
    opened = workspace.open_stack(stack, program(context, stack))
    opened.preview(
        refresh=True,
        run_program=stack == PLATFORM,
        exclude=excluded_urns(context, stack) or None,
        **workspace.QUIETLY,
        on_event=Listener(stack, tell, planned=True),
    )


def _destroy(context: Context, stack: str, tell: Tell) -> None:
    if context.first_build:
        return
    if stack == PLATFORM:
        # The engine would delete every object, and wait for clusters that may be dead.
        state_repair.drop_resources(stack)
        return
    state_repair.drop_pending_operations(stack, lambda line: tell("say", line))
    opened = workspace.open_stack(stack, lambda: None)
    checkpoints.back_up(stack)
    opened.unprotect_all()
    opened.destroy(
        run_program=False,
        suppress_outputs=True,
        suppress_progress=True,
        on_event=Listener(stack, tell),
    )


_OPERATIONS = {UP: _up, PLAN: _plan, DESTROY: _destroy}


class Listener:
    """Tells what the engine's events say of one stack, and what each step took."""

    def __init__(self, stack: str, tell: Tell, planned: bool = False) -> None:
        self._stack, self._tell, self._planned = stack, tell, planned
        self._begun: dict[str, float] = {}

    def __call__(self, event: EngineEvent) -> None:
        if event.resource_pre_event:
            self._begins(event.resource_pre_event.metadata)
        if event.res_outputs_event and not self._planned:
            self._ends(event.res_outputs_event.metadata)
        if event.diagnostic_event:
            _diagnostic(event, self._tell)

    def _begins(self, step: StepEventMetadata) -> None:
        self._begun[step.urn] = time.monotonic()
        change = events.change_of(self._stack, step)
        if change and self._planned:
            self._tell("change", asdict(change))
        elif change and change.host:
            self._tell("say", f"{change.host}: {self._stack}: {change.op}")
        elif change and self._stack == PLATFORM:
            self._tell("say", f"{change.resource}: {change.op}")

    def _ends(self, step: StepEventMetadata) -> None:
        if change := events.change_of(self._stack, step):
            begun = self._begun.get(step.urn)
            took = None if begun is None else time.monotonic() - begun
            self._tell("change", asdict(replace(change, seconds=took)))


def _diagnostic(event: EngineEvent, tell: Tell) -> None:
    assert event.diagnostic_event
    for fault in events.faults_of(event.diagnostic_event):
        tell("fault", fault)
    if line := events.progress_of(event):
        tell("say", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
