"""Waiting until an object is ready, or gone: it is watched, and what belongs to it is asked for while it is not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from stacks.providers.kubernetes import readiness
from stacks.providers.kubernetes.api import ApiError, Cluster, Unreachable
from stacks.providers.kubernetes.discovery import Kinds, Place
from stacks.providers.kubernetes.objects import ROLL_BACK, Object, flagged, kind_of, metadata, name_of, namespace_of
from stacks.providers.kubernetes.readiness import Failed, Ready, Related, Verdict
from stacks.providers.resource import ResourceFailed

LOOK_S = 2.0
"""Between two looks at what belongs to an object that is not ready."""
AWAY_S = 30.0
"""How long an API server may be away while we wait; it restarts in less."""
AGAIN_S = 1.0
"""Between the end of a watch and the next one."""
LOOK_WITHIN_S = 10.0
"""For all that belongs to an object. It only gives reasons: nobody waits for it longer."""
WARNINGS = 20
"""Newest warnings of a namespace that are looked through."""


class NotReady(Exception):
    """It did not become ready. `live` is the object as seen last."""

    def __init__(self, live: Object, reason: str) -> None:
        super().__init__(reason)
        self.live, self.reason = live, reason


class Cancelled(Exception):
    """The operator has cancelled the run."""


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """Waits for one object at `place`. `say` takes progress, `stop` is set when the run is cancelled."""

    cluster: Cluster
    kinds: Kinds
    place: Place
    say: Callable[[str], None]
    stop: asyncio.Event

    async def ready(self, live: Object, timeout_s: float) -> Object:
        """The object once it is ready. Raises `NotReady`, `Cancelled`, `Unreachable`."""
        deadline, told, seen, related = time.monotonic() + timeout_s, "", live, readiness.NOTHING
        missed, away = readiness.missed_deadline(live), _Away(self.say)
        if isinstance(readiness.judge(seen), Ready):
            return seen
        async with aclosing(self._changes(seen, away)) as changes:
            async for change in changes:
                if change is not None and not change:
                    raise NotReady(seen, "it was deleted while it was waited for")
                seen = change or seen
                related = await self._look(seen, related, deadline - time.monotonic())
                verdict = readiness.judge(seen, replace(related, deadline=missed))
                if isinstance(verdict, Ready):
                    return seen
                if isinstance(verdict, Failed):
                    raise NotReady(seen, verdict.reason)
                if verdict.reason != told:
                    told = verdict.reason
                    self.say(told)
                if time.monotonic() > deadline:
                    raise NotReady(seen, f"not ready after {timeout_s:.0f} s: {verdict.reason}{away.words}")
        raise AssertionError("changes never end by themselves")

    async def gone(self, live: Object, timeout_s: float) -> None:
        """Returns when the object, or that incarnation of it, is no more. Raises `NotReady`, `Cancelled`."""
        deadline, told, uid = time.monotonic() + timeout_s, "", metadata(live).get("uid")
        away = _Away(self.say)
        async with aclosing(self._changes(live, away)) as changes:
            async for change in changes:
                if change is not None and (not change or (uid and metadata(change).get("uid") != uid)):
                    return
                live = change or live
                reason = _remains(live)
                if reason != told:
                    told = reason
                    self.say(f"being deleted: {reason}")
                if time.monotonic() > deadline:
                    raise NotReady(live, f"still there after {timeout_s:.0f} s: {reason}{away.words}")

    async def verdict(self, live: Object) -> Verdict:
        """One look, for a read."""
        first = readiness.judge(live)
        if isinstance(first, Ready):
            return first
        return readiness.judge(live, await self._look(live, readiness.NOTHING, LOOK_WITHIN_S))

    async def _look(self, live: Object, before: Related, within_s: float) -> Related:
        """What belongs to it; `before` where the server does not say. How long that may last, the watch decides."""
        try:
            async with asyncio.timeout(max(0.0, min(within_s, LOOK_WITHIN_S))):
                return await self._related(live)
        except ApiError as error:
            return before if error.busy else readiness.NOTHING  # who may not read pods still learns of the object
        except (Unreachable, TimeoutError):
            return before

    async def _changes(self, live: Object, away: _Away) -> Any:
        """The object after each change, an empty one when it is gone, None when it is time for another look."""
        queue: asyncio.Queue[Object | Exception] = asyncio.Queue()
        watcher = asyncio.create_task(self._watch(live, queue, away))
        stopped = asyncio.create_task(self.stop.wait())
        try:
            while True:
                taken = asyncio.create_task(queue.get())
                done, _ = await asyncio.wait({taken, stopped}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if stopped in done:
                    taken.cancel()
                    raise Cancelled
                if taken not in done:
                    taken.cancel()
                    yield None
                    continue
                change = taken.result()
                if isinstance(change, Exception):
                    raise change
                yield change
        finally:
            watcher.cancel()
            stopped.cancel()

    async def _watch(self, live: Object, queue: asyncio.Queue[Object | Exception], away: _Away) -> None:
        """Follow it again and again: a watch ends by itself and with its server.

        Whatever ends this goes into the queue: nobody looks at a task that has died.
        """
        try:
            while True:
                try:
                    async with aclosing(self._followed(live)) as changes:
                        async for change in changes:
                            away.over()
                            queue.put_nowait(change)
                except (ApiError, Unreachable) as error:
                    if isinstance(error, ApiError) and error.gone:
                        queue.put_nowait({})
                        return
                    away.because(error)
                await asyncio.sleep(AGAIN_S)
        except (ApiError, ResourceFailed) as error:
            queue.put_nowait(error)
        except Exception as error:
            logging.getLogger(__name__).exception("a watch ended")
            queue.put_nowait(ResourceFailed(f"it cannot be watched: {type(error).__name__}: {error}"))

    async def _followed(self, live: Object) -> AsyncGenerator[Object]:
        """Read, then watched from there; nothing is given before the watch stands. Empty when it is gone."""
        namespace, name = namespace_of(live), name_of(live)
        seen = await self.cluster.look(self.place.path(namespace, name))
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": metadata(seen)["resourceVersion"]}
        async with self.cluster.watch(self.place.path(namespace), **query) as events:
            yield seen
            async for event in events:
                if event["type"] == "ERROR":
                    return  # the version is too old: read anew
                yield {} if event["type"] == "DELETED" else dict(event["object"])

    async def _related(self, live: Object) -> Related:
        kind, namespace = kind_of(live), namespace_of(live)
        if kind.kind == "PersistentVolumeClaim":
            mode = await self._binding_mode(live)
            return Related(binding_mode=mode, warnings=_texts(await self._warnings(namespace, [live])))
        if kind.kind == "Pod":
            return Related(warnings=_texts(await self._warnings(namespace, [live])))
        selector = readiness.selector_of(live)
        if not selector or not namespace:
            return readiness.NOTHING
        pods = await self._list(f"/api/v1/namespaces/{namespace}/pods", selector, "Pod")
        if kind.kind == "Service":
            path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            slices = await self._list(path, f"kubernetes.io/service-name={name_of(live)}", "EndpointSlice")
            return Related(pods=pods, slices=slices)
        versions = await self._versions(live, selector) if kind.kind == "Deployment" else ()
        warnings = await self._warnings(namespace, [live, *versions, *pods])
        related = Related(pods=pods, warnings=_texts(warnings))
        if not flagged(live, ROLL_BACK):
            return related
        newest = readiness.newest_version(versions)
        return replace(related, newest=newest, absent=readiness.absent_images(warnings))

    async def _versions(self, live: Object, selector: str) -> Sequence[Object]:
        """A Deployment's ReplicaSets. None for who may read pods only: nothing is given up then before its time."""
        try:
            path = f"/apis/apps/v1/namespaces/{namespace_of(live)}/replicasets"
            found = await self._list(path, selector, "ReplicaSet")
        except ApiError:
            return ()
        return readiness.owned(found, str(metadata(live).get("uid")))

    async def _list(self, path: str, selector: str, kind: str) -> list[Object]:
        """Items of a list do not name their kind; here they do."""
        return [{"kind": kind, **item} for item in (await self.cluster.look(path, labelSelector=selector))["items"]]

    async def _warnings(self, namespace: str, about: Sequence[Object]) -> Sequence[Object]:
        """The newest warnings about these objects."""
        query = {"fieldSelector": "type=Warning", "limit": "500"}
        items = (await self.cluster.look(f"/api/v1/namespaces/{namespace}/events", **query))["items"]
        found = [item for item in items if any(readiness.concerns(item, one) for one in about)]
        found.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
        return found[-WARNINGS:]

    async def _binding_mode(self, live: Object) -> str:
        name = (live.get("spec") or {}).get("storageClassName")
        if not name:
            return ""
        try:
            found = await self.cluster.look(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
        except ApiError:
            return ""
        return str(found.get("volumeBindingMode") or "")


class _Away:
    """Since when the API server has given no watch. Told once, and waited for so long."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._since = say, 0.0

    @property
    def words(self) -> str:
        """To be put behind a reason that may be out of date."""
        return f" (the API server has been away for {time.monotonic() - self._since:.0f} s)" if self._since else ""

    def over(self) -> None:
        """It is back."""
        self._since = 0.0

    def because(self, error: ApiError | Unreachable) -> None:
        """Wait on; raises the error where it will not pass, or has lasted too long."""
        expired = isinstance(error, ApiError) and error.code == 410  # the version to watch from: it is read anew
        passing = expired or (error.busy if isinstance(error, ApiError) else error.passing)
        if not passing or (self._since and time.monotonic() - self._since > AWAY_S):
            raise error
        if not self._since:
            self._since = time.monotonic()
            self._say(f"the API server is {'busy' if isinstance(error, ApiError) else 'away'}; waiting for it")


def _texts(events: Sequence[Object]) -> tuple[str, ...]:
    return tuple(str(event.get("message") or event.get("reason")) for event in events)


def _remains(live: Object) -> str:
    """What keeps an object that is being deleted."""
    conditions = (live.get("status") or {}).get("conditions") or ()
    telling = [c["message"] for c in conditions if c.get("status") == "True" and c.get("message")]
    if live.get("kind") == "Namespace" and telling:
        return "; ".join(telling)
    finalizers = metadata(live).get("finalizers") or ()
    if finalizers:
        return f"it waits for {', '.join(finalizers)}"
    return "it is ending"
