"""Changes of the state itself, made by the engine. They read, change and delete no resource."""

from __future__ import annotations

from collections.abc import Callable

from pulumi.automation import Deployment

from stacks.runs import workspace
from stacks.state import store

Say = Callable[[str], None]


def drop_pending_operations(stack: str, say: Say) -> None:
    """Drop operations that a killed run left open. Every operation on our resources may be repeated."""
    names = store.pending(stack)
    if not names:
        return
    say(f"{stack}: {', '.join(names)} was interrupted; it is compared and repeated")
    _empty(stack, "pending_operations")


def drop_resources(stack: str) -> None:
    """Drop all resources from the stack's state. The resources themselves do not change."""
    if store.resources(stack):
        _empty(stack, "resources", "pending_operations")


def _empty(stack: str, *lists: str) -> None:
    opened = workspace.open_stack(stack)
    exported = opened.export_stack()
    deployment = {**(exported.deployment or {}), **{name: [] for name in lists}}
    opened.import_stack(Deployment(version=exported.version, deployment=deployment))
