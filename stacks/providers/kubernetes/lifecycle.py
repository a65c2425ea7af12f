"""The life of one object in a cluster: applied, waited for, read, ended. Knows no engine."""

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
"""How long an object may take to become ready where its author set no time; as the official provider has it."""
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between tries while a namespace or a kind is not there yet: another resource of the run may be making it."""
RACES = 5
PROPAGATIONS = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


@dataclass(frozen=True, kw_only=True)
class ObjectLifecycle:
    """Acts on one object. `manager` owns its fields, `force` takes fields that others own."""

    cluster: Cluster
    kinds: Kinds
    say: Callable[[str], None]
    stop: asyncio.Event
    manager: str
    force: bool

    def warned(self, text: str) -> None:
        """Tell what the API server lets pass for now."""
        self.say(f"the API server warns: {text}")

    async def place(self, obj: Object) -> Place | None:
        """Where the object is, if the cluster has its kind."""
        return await self.kinds.place(objects.kind_of(obj))

    async def find(self, obj: Object) -> Object | None:
        """The live object, if there is one."""
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
        """Make it, unless another has made one of that name. `given_s`: how long one of ours that is ending may take.

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
                self.say(f"{missing} is not there yet")
                await asyncio.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    async def would_create(self, obj: Object, *, upsert: bool) -> Object:
        """What creating it would give."""
        shown = await self.apply(obj, force=True, dry_run=True)
        if set(field_ownership.managers(shown)) - {self.manager} and not upsert:
            await self._ours(obj)
        return shown

    async def in_the_way(self, obj: Object, *, upsert: bool) -> bool:
        """Whether one of that name is there, for a replacement to end first. Raises where no stack has made it."""
        live = await self.find(obj)
        if live is not None and not upsert and not field_ownership.of_a_stack(live):
            raise ResourceFailed(exists(live))
        return live is not None

    async def update(self, obj: Object) -> Object:
        """Bring it to what is declared; one that is gone is made anew."""
        for race in range(RACES):
            live = await self.find(obj)
            if live is None:
                self.say("it was deleted by someone; it is made anew")
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
        """What updating it would give; None where it is gone."""
        live = await self.find(obj)
        if live is None:
            return None
        return await self.apply(obj, force=self.force or field_ownership.by_hand(live), dry_run=True)

    async def apply(self, obj: Object, *, force: bool, dry_run: bool = False) -> Object:
        """One server-side apply."""
        place = await self.place(obj)
        if place is None:
            raise ResourceFailed(no_such_kind(obj))
        if not place.namespaced and objects.namespace_of(obj):
            # Its kind was not known when it was checked, so it was thought to have one.
            kept = {key: value for key, value in objects.metadata(obj).items() if key != "namespace"}
            obj = {**obj, "metadata": kept}
        return await self.cluster.apply(
            _path(place, obj), obj, self.manager, force=force, dry_run=dry_run, warn=self.warned
        )

    async def relinquish(self, obj: Object, manager: str) -> None:
        """Give up all fields that `manager` owns; the object stays."""
        place = await self.place(obj)
        if place is None or await self.find(obj) is None:
            return
        identity = {key: objects.metadata(obj)[key] for key in ("name", "namespace") if objects.metadata(obj).get(key)}
        empty = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": identity}
        await self.cluster.apply(_path(place, obj), empty, manager, force=False, dry_run=False, warn=self.warned)

    async def delete(self, live: Object, timeout_s: float) -> None:
        """End it and wait until it is gone."""
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
        """Wait until it is ready."""
        place = await self.place(live)
        assert place, "it has just been applied"
        ready = await self.waiter(place).ready(live, timeout_s)
        if objects.is_definition(live):
            self.kinds.forget(str((live.get("spec") or {}).get("group") or ""))
        return ready

    def waiter(self, place: Place) -> Waiter:
        """Waits for objects at a place."""
        return Waiter(cluster=self.cluster, kinds=self.kinds, place=place, say=self.say, stop=self.stop)

    async def _ours(self, obj: Object) -> Object | None:
        """The live object, if there is one. Raises `ResourceFailed` where another has made it."""
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
    """How long to wait: the resource's option, else its annotation, else ten minutes."""
    if given_s:
        return given_s
    text = objects.annotation(obj, objects.TIMEOUT_SECONDS)
    try:
        return float(text) if text else READY_WITHIN_S
    except ValueError as error:
        raise ResourceFailed(f"{objects.TIMEOUT_SECONDS}: {text} is no number of seconds") from error


def explained(error: ApiError, manager: str) -> str:
    """A refusal in the operator's words, with the next step."""
    if error.field_conflict:
        fields = "; ".join(str(cause.get("message")) + " " + str(cause.get("field")) for cause in error.causes)
        return (
            f"another manager owns fields that are to be set ({fields}): leave them out, or take them over with the "
            f'annotation {objects.PATCH_FORCE}: "true" (our field manager is {manager})'
        )
    if error.over_quota:
        return f"{error.message}: ask for less, remove something, or have the quota raised"
    if error.no_namespace:
        return f"the namespace {error.name} does not exist: declare it and depend on it"
    if error.malformed:
        return f"{error.message}: correct it and run the same command again"
    if error.busy:
        return f"{error.message}: the API server was asked several times; when it is well, run the same command again"
    if error.code == 403:
        return f"{error.message}: give the kubeconfig's user this right, or use another kubeconfig"
    return error.message


def exists(live: Object) -> str:
    """What to say where another has made an object of that name."""
    makers = ", ".join(field_ownership.managers(live)) or "someone"
    return (
        f"it exists already, managed by {makers}: import it (`import_` of the resource options), give yours another "
        "name, or let the provider take such objects over with `upsert_existing_objects`"
    )


def no_such_kind(obj: Object) -> str:
    """What to say where the cluster does not have the object's kind."""
    kind = objects.kind_of(obj)
    if kind.built_in:
        return f"the cluster has no {kind}: see which version it serves (`kubectl api-resources`)"
    return f"the cluster has no {kind}: declare its CustomResourceDefinition and depend on it"


def _path(place: Place, obj: Object) -> str:
    return place.path(objects.namespace_of(obj), objects.name_of(obj))
