"""The way back: when a new version does not become ready, the inputs before are applied again.

What is decided is a pure function of the inputs, old and new, and of the object as it was before the update.
"""

from __future__ import annotations

from dataclasses import dataclass

from stacks.providers.kubernetes import readiness
from stacks.providers.kubernetes.api import ApiError
from stacks.providers.kubernetes.lifecycle import ObjectLifecycle, explained
from stacks.providers.kubernetes.objects import ROLL_BACK, Object, flagged, kind_of
from stacks.providers.kubernetes.wait import Cancelled, NotReady
from stacks.providers.resource import ResourceFailed

BACK = "the version before is back, and all its pods are ready: mend the new one and run the same command again"


def is_requested(obj: Object) -> bool:
    """Whether the author wants a version that does not become ready to be rolled back."""
    kind = kind_of(obj)
    return (kind.group, kind.kind) == ("apps", "Deployment") and flagged(obj, ROLL_BACK)


def version_before(new: Object, former: Object, live: Object | None) -> Object | None:
    """The inputs to go back to; None where there are none that are better than the new ones.

    `live` is the object before the update. A version that was never ready as a whole is nothing to go back to: what
    runs then is the one before it, and the cluster keeps that running by itself until another is ready.
    """
    if not is_requested(new) or not former or live is None or former == new:
        return None
    return former if readiness.complete(live) else None


class RollbackFailed(Exception):
    """The version before could not be put back; the text says why and what stands in its place."""


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """To the inputs `former`, within `timeout_s`."""

    life: ObjectLifecycle
    former: Object
    timeout_s: float

    async def run(self) -> str:
        """What became of it, once the old inputs are applied. Raises `RollbackFailed` where they are not.

        After a cancelled run they are applied, but not waited for: the cluster goes on by itself.
        """
        self.life.say("the version before is put back")
        try:
            if await self.life.find(self.former) is None:
                raise RollbackFailed("there is nothing to put the version before back to: the object has been deleted")
            live = await self.life.update(self.former)
        except (ApiError, ResourceFailed) as error:
            why = explained(error, self.life.manager) if isinstance(error, ApiError) else str(error)
            raise RollbackFailed(
                f"the version before could not be put back: {why}; the new one is still declared there, and the pods "
                "of the one before go on as long as they live: run the same command with the version before"
            ) from error
        try:
            await self.life.ready(live, self.timeout_s)
        except Cancelled:
            return "the version before was put back, but not waited for; the next run looks after it"
        except NotReady as error:
            why = error.reason
        except (ApiError, ResourceFailed) as error:
            why = str(error)
        else:
            self.life.say("the version before is back")
            return BACK
        return (
            f"the version before was put back, but is not ready either: {why}; see the pods (`kubectl describe`), mend "
            "what keeps them from being ready, then run the same command again"
        )
