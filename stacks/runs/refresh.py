"""Compare the real resources with the state without running a program.

`drift` uses it, and `up` and `plan` use it for unchanged stacks. It writes nothing. So its engines are children of the
command, need no order and may be killed at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pulumi.automation.errors import CommandError
from pulumi.automation.events import EngineEvent

from stacks.phases import PLATFORM
from stacks.programs.context import Context, excluded_urns
from stacks.runs import events, preflight, workspace
from stacks.runs.worker_pool import StackResult
from workstation.errors import GovcloudError

AT_ONCE = 4
"""Engines in parallel. Two engines already use all of the operator's cores."""

OnEvent = Callable[[str], None]


def refresh_all(contexts: Mapping[str, Context], on_event: OnEvent) -> list[StackResult]:
    """Return each stack's result, in the order of `contexts`. The result of a failed refresh contains its errors."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(lambda stack: refresh_stack(contexts[stack], stack, on_event), contexts))


def refresh_stack(context: Context, stack: str, on_event: OnEvent) -> StackResult:
    """Compare all resources in the stack's state with reality, except at excluded sites."""
    result, begun = StackResult(stack=stack), time.monotonic()
    if not context.first_build:
        try:
            _refresh(context, result, on_event)
        except CommandError as error:
            result.errors += [] if result.errors else [events.startup_error(str(error))]
        except GovcloudError as error:
            result.errors.append(str(error))
    result.done, result.seconds = not result.errors, time.monotonic() - begun
    return result


def _refresh(context: Context, result: StackResult, on_event: OnEvent) -> None:
    stack = result.stack
    silent = preflight.unreachable_clusters(context, only=context.clusters) if stack == PLATFORM else {}
    for site, reason in silent.items():  # reported as a difference, so that the other sites are still compared
        result.drift[f"{site}: cluster"] = (f"{reason}; nothing in it was compared",)
    context = replace(context, without=context.without | silent.keys())

    def handle(event: EngineEvent) -> None:
        if event.res_outputs_event and (found := events.drift_of(event.res_outputs_event.metadata)):
            result.drift.update([found])
        if event.diagnostic_event:
            result.errors += [one for one in events.errors_of(event.diagnostic_event) if one not in result.errors]
        if line := events.progress_of(event):
            on_event(line)

    refresh_with_engine(stack, handle, excluded_urns(context, stack))


def refresh_with_engine(stack: str, on_event: Callable[[EngineEvent], None], exclude: Sequence[str] = ()) -> None:
    """Compare the stack's state with reality in one engine run, except `exclude`.

    Raise `CommandError` if the run fails.
    """
    opened = workspace.open_stack(stack, lambda: None)
    opened.refresh(
        preview_only=True, run_program=False, on_event=on_event, exclude=list(exclude) or None, **workspace.RUN_OPTIONS
    )
