"""The interface of every resource of the provider, with harmless defaults."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.provider.experimental.provider import CheckFailure, DiffResponse, PropertyDiff, PropertyDiffKind

from stacks.providers.values import Properties, plain, plain_map

Say = Callable[[str], None]
"""Function that shows one progress line to the operator."""


class ResourceFailed(Exception):
    """The operation failed. The text is for the operator and names the cause and the place."""


class Unfinished(ResourceFailed):
    """The resource exists but is not healthy. The engine records it, and the next run repairs it first."""

    def __init__(self, text: str, resource_id: str, state: Properties, inputs: Properties | None = None) -> None:
        super().__init__(text)
        self.resource_id, self.state, self.inputs = resource_id, state, inputs


@dataclass(frozen=True, kw_only=True)
class Call:
    """The engine's data about an operation, without the properties. `timeout_s` is 0 if no timeout is set."""

    name: str
    stack: str
    preview: bool
    timeout_s: float
    say: Say


class Resource(ABC):
    """One type of resource. Properties stay the engine's own values, so that secrets keep their mark."""

    inputs: tuple[str, ...]
    """Names of the required inputs."""
    optional: tuple[str, ...] = ()
    """Names of the optional inputs."""
    compared: tuple[str, ...] = ()
    """Names that `diff` compares, if not all inputs."""
    replaced_by: tuple[str, ...] = ()
    """Inputs whose change replaces the resource instead of updating it."""

    def check(self, news: Properties) -> list[CheckFailure]:
        """Return the problems of the inputs."""
        missing = [CheckFailure(name, "is missing") for name in self.inputs if name not in news]
        known = (*self.inputs, *self.optional)
        return missing + [CheckFailure(name, "is unknown to this resource") for name in news if name not in known]

    def diff(self, olds: Properties, news: Properties) -> DiffResponse:
        """Compare the state with the new inputs, property by property."""
        names = self.compared or (*self.inputs, *self.optional)
        return differences(plain_map(olds), plain_map(news), names, self.replaced_by)

    @abstractmethod
    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Create the resource; return its ID and its outputs."""

    async def read(
        self, resource_id: str, state: Properties, inputs: Properties, call: Call
    ) -> tuple[str, Properties, Properties]:
        """Return the actual ID, outputs and inputs. An empty ID means that the resource no longer exists."""
        return resource_id, state, inputs

    @abstractmethod
    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Change the resource; return its outputs."""

    async def delete(self, resource_id: str, state: Properties, call: Call) -> None:
        """Delete the resource. The default only removes it from the state."""
        call.say(f"{resource_id}: removed from the state")


class SiteResource(Resource):
    """A resource at a site that acts alike on create and update. Its ID is `site/name`, and another one replaces it."""

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Act for the first time."""
        return "/".join(plain(news[name]) for name in self.replaced_by), await self.update("", {}, news, call)

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Act again."""
        if not call.preview:
            await asyncio.to_thread(self.act, plain_map(news), call)
        return news

    @abstractmethod
    def act(self, values: dict[str, Any], call: Call) -> None:
        """Do what the new inputs require, in a thread of its own. Raises `ResourceFailed`."""


def differences(
    olds: Mapping[str, Any], news: Mapping[str, Any], keys: tuple[str, ...], replaced_by: tuple[str, ...] = ()
) -> DiffResponse:
    """Compare the named properties down to their leaves."""
    detailed: dict[str, PropertyDiff] = {}
    replaces = []
    for key in keys:
        found = dict(_walk(key, olds.get(key), news.get(key)))
        if key in replaced_by and found:
            replaces.append(key)
            found = {path: REPLACING[kind] for path, kind in found.items()}
        detailed.update({path: PropertyDiff(kind, input_diff=False) for path, kind in found.items()})
    return DiffResponse(
        changes=bool(detailed),
        replaces=replaces,
        diffs=sorted({_top(path) for path in detailed}),
        detailed_diff=detailed,
    )


REPLACING = {
    PropertyDiffKind.ADD: PropertyDiffKind.ADD_REPLACE,
    PropertyDiffKind.DELETE: PropertyDiffKind.DELETE_REPLACE,
    PropertyDiffKind.UPDATE: PropertyDiffKind.UPDATE_REPLACE,
}


def _walk(path: str, old: Any, new: Any) -> list[tuple[str, PropertyDiffKind]]:
    if old == new:
        return []
    if old is None:
        return [(path, PropertyDiffKind.ADD)]
    if new is None:
        return [(path, PropertyDiffKind.DELETE)]
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            item
            for key in sorted(old.keys() | new.keys())
            for item in _walk(f'{path}["{key}"]', old.get(key), new.get(key))
        ]
    if isinstance(old, list) and isinstance(new, list):
        longest = max(len(old), len(new))
        pairs = [(i, old[i] if i < len(old) else None, new[i] if i < len(new) else None) for i in range(longest)]
        return [item for index, a, b in pairs for item in _walk(f"{path}[{index}]", a, b)]
    return [(path, PropertyDiffKind.UPDATE)]


def _top(path: str) -> str:
    return path.split("[", 1)[0]
