"""Context of one request of the engine: the object, the manager of its fields, and its secrets."""

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

CANCELLED = "the run was cancelled during the wait; the next run continues"

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """One request. `declared` marks the author's secrets; `former` is the state before, empty for a new object."""

    urn: str
    obj: Object
    declared: Properties
    manager: str
    former: Properties = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the object in messages."""
        return objects.resource_id(self.obj) or str(self.obj.get("kind"))

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        return redaction.secret_texts(self.declared, self.former)

    def redacted(self, message: str) -> str:
        """Return the message without old and new secrets, because the server and controllers quote values."""
        return redaction.redact(message, self._secrets)

    def state(self, live: Object) -> Properties:
        """Return the outputs for the state."""
        first = state_format.first_version_of(self.former, self.obj)
        return state_format.outputs(self.obj, live, self.declared, first, self.manager)

    async def run(self, act: Awaitable[Found]) -> Found:
        """Await an operation. Its errors name the object and contain no secret."""
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
    """Return the manager of an object's fields: from its annotation, else from the state, else from the URN."""
    return objects.annotation(obj, objects.PATCH_FIELD_MANAGER) or former or objects.field_manager(urn)
