"""What one request of the engine is about: an object, who manages its fields, and what of it is secret."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from stacks.providers.kubernetes import lifecycle, objects, redaction, state_format
from stacks.providers.kubernetes.api import ApiError, Unreachable
from stacks.providers.kubernetes.objects import Object
from stacks.providers.kubernetes.wait import Cancelled, NotReady
from stacks.providers.resource import ResourceFailed
from stacks.providers.values import Properties

CANCELLED = "the run was cancelled while it was waited for; the next one goes on"

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """`declared` says what its author marked as secret, `former` is the state before, empty where there is none."""

    urn: str
    obj: Object
    declared: Properties
    manager: str
    former: Properties = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        return objects.resource_id(self.obj) or str(self.obj.get("kind"))

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        return redaction.secret_texts(self.declared, self.former)

    def redacted(self, message: str) -> str:
        """Without secrets, old and new: controllers and the server quote."""
        return redaction.redact(message, self._secrets)

    def state(self, live: Object) -> Properties:
        """What the state keeps of it."""
        first = state_format.first_version_of(self.former, self.obj)
        return state_format.outputs(self.obj, live, self.declared, first, self.manager)

    async def told(self, act: Awaitable[Found]) -> Found:
        """Run an act; its failures name the object and hold no secret."""
        try:
            return await act
        except ApiError as error:
            raise self._failed(lifecycle.explained(error, self.manager)) from error
        except Unreachable as error:
            raise Unreachable(f"{self.name}: {error}", passing=error.passing) from error
        except NotReady as error:
            raise self._failed(f"{error.reason}; run the same command again") from error
        except Cancelled as error:
            raise self._failed(CANCELLED) from error
        except ResourceFailed as error:
            raise ResourceFailed(f"{self.name}: {error}") from error

    def _failed(self, text: str) -> ResourceFailed:
        return ResourceFailed(self.redacted(f"{self.name}: {text}"))


def manager_of(urn: str, obj: Object, former: str = "") -> str:
    """The manager of an object's fields: what its author says, else the state, else what follows from the URN."""
    return objects.annotation(obj, objects.PATCH_FIELD_MANAGER) or former or objects.field_manager(urn)
