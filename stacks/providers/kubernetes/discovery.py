"""Discovery of the cluster's kinds and their URL paths, once for each group and version."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import quote

from stacks.providers.kubernetes.api import ApiError, Cluster
from stacks.providers.kubernetes.objects import Kind


@dataclass(frozen=True)
class Place:
    """URL path of the objects of a kind."""

    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of one object; without a name, of all objects of the kind."""
        within = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{self.root}{within}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


class Kinds:
    """Cache of the cluster's kinds."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[tuple[str, str], asyncio.Task[dict[str, Place]]] = {}

    async def place(self, kind: Kind) -> Place | None:
        """Return the place of the kind's objects; None if the cluster does not have the kind (yet)."""
        key = (kind.group, kind.version)
        if key not in self._known:
            self._known[key] = asyncio.create_task(self._ask(*key))
        task = self._known[key]
        try:
            found = (await asyncio.shield(task)).get(kind.kind)
        except Exception:
            self._known.pop(key, None)
            raise
        if found is None and not kind.built_in:
            self._known.pop(key, None)  # the kind may be defined in a moment
        return found

    def forget(self, group: str) -> None:
        """Drop a group from the cache, because one of its kinds was defined or removed."""
        self._known = {key: task for key, task in self._known.items() if key[0] != group}

    async def _ask(self, group: str, version: str) -> dict[str, Place]:
        root = (
            f"/apis/{quote(group, safe='')}/{quote(version, safe='')}" if group else f"/api/{quote(version, safe='')}"
        )
        try:
            answer = await self._cluster.get(root)
        except ApiError as error:
            if error.gone:
                return {}
            raise
        resources = [item for item in answer.get("resources") or () if "/" not in item["name"]]
        return {item["kind"]: Place(root, item["name"], bool(item["namespaced"])) for item in resources}
