"""Changes that the engine makes to the state itself: no resource is read, changed or deleted."""

from __future__ import annotations

from collections.abc import Callable

from pulumi.automation import Deployment

from stacks.runs import workspace
from stacks.state import store

Say = Callable[[str], None]


def drop_pending_operations(stack: str, say: Say) -> None:
    """Drop operations that a killed run left open: every operation of our resources may be done again."""
    names = store.pending(stack)
    if not names:
        return
    say(f"{stack}: {', '.join(names)} was interrupted; it is compared and done again")
    opened = workspace.open_stack(stack)
    exported = opened.export_stack()
    deployment = {**(exported.deployment or {}), "pending_operations": []}
    opened.import_stack(Deployment(version=exported.version, deployment=deployment))


def drop_resources(stack: str) -> None:
    """Drop all resources from the stack's state; nothing is done to any of them."""
    if not store.resources(stack):
        return
    opened = workspace.open_stack(stack)
    exported = opened.export_stack()
    deployment = {**(exported.deployment or {}), "resources": [], "pending_operations": []}
    opened.import_stack(Deployment(version=exported.version, deployment=deployment))
