"""The life cycle of one object in a cluster: apply, wait, read, delete. Independent of the Pulumi engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from stacks.providers.kubernetes import field_ownership, objects
from stacks.providers.kubernetes.api import ApiError, Cluster
from stacks.providers.kubernetes.discovery import Kinds, Place
from stacks.providers.kubernetes.objects import Object
from stacks.providers.kubernetes.wait import Waiter
from stacks.providers.resource import ResourceFailed

READY_WITHIN_S = 600.0
"""Default time for an object to become ready, as in the official provider."""
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between attempts while a namespace or a kind is missing: another resource of the run may be creating it."""
RACES = 5
PROPAGATIONS = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


@dataclass(frozen=True, kw_only=True)
class ObjectLifecycle:
    """Operations on one object. `manager` owns its fields; `force` takes fields that other managers own."""

    cluster: Cluster
    kinds: Kinds
    say: Callable[[str], None]
    stop: asyncio.Event
    manager: str
    force: bool

    def warned(self, text: str) -> None:
        """Report a warning of the API server."""
        self.say(f"the API server warns: {text}")

    async def place(self, obj: Object) -> Place | None:
        """Return the object's place; None if the cluster does not have its kind."""
        return await self.kinds.place(objects.kind_of(obj))

    async def find(self, obj: Object) -> Object | None:
        """Return the live object; None if it does not exist."""
        place = await self.place(obj)
        if place is None:
            return None
        try:
            return await self.cluster.get(_path(place, obj))
        except ApiError as error:
            if error.gone:
                return None
            raise

    async def create(self, obj: Object, *, upsert: bool, given_s: float = 0) -> Object:
        """Create the object, unless another manager has created an object of that name.

        `given_s` is the timeout for our own earlier object of that name that is being deleted.
        Raises `ResourceFailed`, `ApiError`, `NotReady`.
        """
        for pause_s in (*PAUSES_S, None):
            place = await self.place(obj)
            try:
                if place is None:
                    raise ResourceFailed(no_such_kind(obj))
                live = None if upsert else await self._ours(obj)
                if live and objects.metadata(live).get("deletionTimestamp"):
                    await self.waiter(place).gone(live, timeout_of(obj, given_s))
                return await self.apply(obj, force=self.force)
            except (ApiError, ResourceFailed) as error:
                passing = place is None or (isinstance(error, ApiError) and error.gone)
                if not passing or pause_s is None:
                    raise
                missing = "its kind" if place is None else f"the namespace {objects.namespace_of(obj)}"
                self.say(f"{missing} does not exist yet")
                await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def would_create(self, obj: Object, *, upsert: bool) -> Object:
        """Return the object that a creation would give."""
        shown = await self.apply(obj, force=True, dry_run=True)
        if set(field_ownership.managers(shown)) - {self.manager} and not upsert:
            await self._ours(obj)
        return shown

    async def in_the_way(self, obj: Object, *, upsert: bool) -> bool:
        """Return whether an object of that name exists, which a replacement deletes first.

        Raises `ResourceFailed` if no stack has created it.
        """
        live = await self.find(obj)
        if live is not None and not upsert and not field_ownership.of_a_stack(live):
            raise ResourceFailed(exists(live))
        return live is not None

    async def update(self, obj: Object) -> Object:
        """Apply the declared object. Create it again if it is missing."""
        for race in range(RACES):
            live = await self.find(obj)
            if live is None:
                self.say("it was deleted outside this program; creating it again")
                break
            fields = field_ownership.taken_over(live, self.manager)
            if fields is None:
                break
            try:
                await self._own(obj, live, fields)
                break
            except ApiError as error:
                if error.code not in (409, 422) or race == RACES - 1:
                    raise
        return await self.apply(obj, force=self.force)

    async def would_update(self, obj: Object) -> Object | None:
        """Return the object that an update would give; None if the object is missing."""
        live = await self.find(obj)
        if live is None:
            return None
        return await self.apply(obj, force=self.force or field_ownership.by_hand(live), dry_run=True)

    async def apply(self, obj: Object, *, force: bool, dry_run: bool = False) -> Object:
        """Run one server-side apply."""
        place = await self.place(obj)
        if place is None:
            raise ResourceFailed(no_such_kind(obj))
        if not place.namespaced and objects.namespace_of(obj):
            # The check did not know the kind yet and assumed a namespace.
            kept = {key: value for key, value in objects.metadata(obj).items() if key != "namespace"}
            obj = {**obj, "metadata": kept}
        return await self.cluster.apply(
            _path(place, obj), obj, self.manager, force=force, dry_run=dry_run, warn=self.warned
        )

    async def relinquish(self, obj: Object, manager: str) -> None:
        """Release all fields that `manager` owns. The object stays."""
        place = await self.place(obj)
        if place is None or await self.find(obj) is None:
            return
        identity = {key: objects.metadata(obj)[key] for key in ("name", "namespace") if objects.metadata(obj).get(key)}
        empty = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": identity}
        await self.cluster.apply(_path(place, obj), empty, manager, force=False, dry_run=False, warn=self.warned)

    async def delete(self, live: Object, timeout_s: float) -> None:
        """Delete the object and wait until it no longer exists."""
        place = await self.place(live)
        if place is None:
            return
        wanted = objects.annotation(live, objects.DELETION_PROPAGATION).lower()
        try:
            await self.cluster.delete(_path(place, live), PROPAGATIONS.get(wanted, "Foreground"))
        except ApiError as error:
            if not error.gone:
                raise
            return
        await self.waiter(place).gone(live, timeout_s)
        if objects.is_definition(live):
            self.kinds.forget(str((live.get("spec") or {}).get("group") or ""))

    async def ready(self, live: Object, timeout_s: float) -> Object:
        """Wait until the object is ready; return it."""
        place = await self.place(live)
        assert place, "it has just been applied"
        ready = await self.waiter(place).ready(live, timeout_s)
        if objects.is_definition(live):
            self.kinds.forget(str((live.get("spec") or {}).get("group") or ""))
        return ready

    def waiter(self, place: Place) -> Waiter:
        """Return a waiter for objects at a place."""
        return Waiter(cluster=self.cluster, kinds=self.kinds, place=place, say=self.say, stop=self.stop)

    async def _ours(self, obj: Object) -> Object | None:
        """Return the live object, if it exists. Raises `ResourceFailed` if another manager created it."""
        live = await self.find(obj)
        if live is None or field_ownership.ours(live, self.manager):
            return live
        raise ResourceFailed(exists(live))

    async def _own(self, obj: Object, live: Object, fields: list[dict[str, object]]) -> None:
        place = await self.place(obj)
        assert place
        version = objects.metadata(live).get("resourceVersion")
        await self.cluster.patch(
            _path(place, obj),
            [
                {"op": "replace", "path": "/metadata/managedFields", "value": fields},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            ],
        )


def timeout_of(obj: Object, given_s: float) -> float:
    """Return the time to wait: the resource's option, else its annotation, else ten minutes."""
    if given_s:
        return given_s
    text = objects.annotation(obj, objects.TIMEOUT_SECONDS)
    try:
        return float(text) if text else READY_WITHIN_S
    except ValueError as error:
        raise ResourceFailed(f"{objects.TIMEOUT_SECONDS}: {text} is not a number of seconds") from error


def explained(error: ApiError, manager: str) -> str:
    """Return the server's refusal as a message for the operator, with the next step."""
    if error.field_conflict:
        fields = "; ".join(str(cause.get("message")) + " " + str(cause.get("field")) for cause in error.causes)
        return (
            f"another manager owns fields of this object ({fields}): leave them out, or take them over with the "
            f'annotation {objects.PATCH_FORCE}: "true" (our field manager is {manager})'
        )
    if error.over_quota:
        return f"{error.message}: request less, remove objects, or raise the quota"
    if error.no_namespace:
        return f"the namespace {error.name} does not exist: declare it and depend on it"
    if error.malformed:
        return f"{error.message}: correct it and run the same command again"
    if error.busy:
        return f"{error.message}: several attempts failed; when the API server is healthy, run the same command again"
    if error.code == 403:
        return f"{error.message}: grant the kubeconfig's user this right, or use another kubeconfig"
    return error.message


def exists(live: Object) -> str:
    """Return the message for an object of that name that another manager created."""
    managers = ", ".join(field_ownership.managers(live)) or "an unknown manager"
    return (
        f"it exists already, managed by {managers}: import it (`import_` of the resource options), choose another "
        "name, or let the provider take over existing objects with `upsert_existing_objects`"
    )


def no_such_kind(obj: Object) -> str:
    """Return the message for a kind that the cluster does not have."""
    kind = objects.kind_of(obj)
    if kind.built_in:
        return f"the cluster has no {kind}: check which version it serves (`kubectl api-resources`)"
    return f"the cluster has no {kind}: declare its CustomResourceDefinition and depend on it"


def _path(place: Place, obj: Object) -> str:
    return place.path(objects.namespace_of(obj), objects.name_of(obj))
