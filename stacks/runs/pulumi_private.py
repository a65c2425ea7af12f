"""All uses of Pulumi's private interfaces, each with its reason. Decision 0033 has the measured times and sizes.

No other module uses one. `tests/unit/stacks/runs/test_pulumi_private.py` fails if an upgrade of the SDK changes one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode
from pulumi.runtime import resource as registering
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.settings import SETTINGS


class NamedStack(auto.Stack):
    """A stack of a class of our own. The SDK's public functions open stacks of its class only."""

    def __init__(self, name: str, workspace: auto.LocalWorkspace) -> None:
        super().__init__(name, workspace, StackInitMode.CREATE_OR_SELECT)


def unknown_outputs() -> list[asyncio.Task[Any]]:
    """Return the tasks of all outputs that are not yet known.

    The SDK's own wait checks all of them each time that one becomes known.
    """
    return [task for task in SETTINGS.outputs if not task.done()]


def disable_debug_overhead() -> None:
    """Disable the SDK's debug messages and stack traces for the rest of the process.

    The SDK makes one blocking call to the engine for each of five debug messages per resource, and the engine discards
    them unless it runs with `--debug`. The SDK also sends them to an engine that has died, and then does not clean up.
    The stack traces of the declarations would be most of the state, which is written completely for each resource.
    """
    pulumi.log.debug, registering._get_stack_trace = _ignore, StackTrace  # noqa: SLF001


def _ignore(*_: Any, **__: Any) -> None:
    pass
