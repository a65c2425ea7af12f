"""Rollback: if a new version does not become ready, apply the previous inputs again.

The decision is a pure function of the old inputs, the new inputs and the object before the update.
"""

from __future__ import annotations

from dataclasses import dataclass

from stacks.providers.kubernetes import readiness
from stacks.providers.kubernetes.api import ApiError
from stacks.providers.kubernetes.lifecycle import ObjectLifecycle, explained
from stacks.providers.kubernetes.objects import ROLL_BACK, Object, flagged, kind_of
from stacks.providers.kubernetes.wait import Cancelled, NotReady
from stacks.providers.resource import ResourceFailed

BACK = "the previous version is back, and all its pods are ready: repair the new one and run the same command again"


def is_requested(obj: Object) -> bool:
    """Return whether the author requests a rollback of a version that does not become ready."""
    kind = kind_of(obj)
    return (kind.group, kind.kind) == ("apps", "Deployment") and flagged(obj, ROLL_BACK)


def previous_version(new: Object, former: Object, live: Object | None) -> Object | None:
    """Return the inputs for a rollback; None if the previous inputs are not better than the new ones.

    `live` is the object before the update. There is no rollback to a version that was never completely ready. In that
    case an even earlier version runs, and the cluster keeps it running until another version is ready.
    """
    if not is_requested(new) or not former or live is None or former == new:
        return None
    return former if readiness.complete(live) else None


class RollbackFailed(Exception):
    """The rollback failed. The text has the cause and the version that is declared instead."""


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """A rollback to the inputs `former`, with at most `timeout_s` seconds until they are ready."""

    life: ObjectLifecycle
    former: Object
    timeout_s: float

    async def run(self) -> str:
        """Apply the old inputs and return the outcome. Raises `RollbackFailed` if they could not be applied.

        After a cancelled run the old inputs are applied, but not waited for: the cluster continues by itself.
        """
        self.life.say("rolling back to the previous version")
        try:
            if await self.life.find(self.former) is None:
                raise RollbackFailed("the rollback is not possible: the object has been deleted")
            live = await self.life.update(self.former)
        except (ApiError, ResourceFailed) as error:
            why = explained(error, self.life.manager) if isinstance(error, ApiError) else str(error)
            raise RollbackFailed(
                f"the rollback to the previous version failed: {why}; the new version is still declared, and the "
                "remaining pods of the previous version continue to run: run the same command with the previous version"
            ) from error
        try:
            await self.life.ready(live, self.timeout_s)
        except Cancelled:
            return "the rollback to the previous version was started, but not waited for; the next run checks it"
        except NotReady as error:
            why = error.reason
        except (ApiError, ResourceFailed) as error:
            why = str(error)
        else:
            self.life.say("the previous version is back")
            return BACK
        return (
            f"the previous version was restored, but is not ready either: {why}; inspect the pods "
            "(`kubectl describe`), repair the cause, then run the same command again"
        )
