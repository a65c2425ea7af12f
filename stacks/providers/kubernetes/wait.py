"""Wait until an object is ready, or until it no longer exists.

The object is watched. While it is not ready, its related objects are polled for a reason.
"""

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

POLL_S = 2.0
"""Interval between two polls of the objects related to an object that is not ready."""
MAX_OUTAGE_S = 30.0
"""Longest outage of the API server during a wait. A restart takes less."""
REWATCH_S = 1.0
"""Pause between the end of a watch and the next one."""
POLL_TIMEOUT_S = 10.0
"""For one poll of all related objects. They only provide reasons, so a longer wait is not useful."""
WARNINGS = 20
"""Number of the newest warnings of a namespace that are considered."""


class NotReady(Exception):
    """The object did not become ready. `live` is the last observed object."""

    def __init__(self, live: Object, reason: str) -> None:
        super().__init__(reason)
        self.live, self.reason = live, reason


class Cancelled(Exception):
    """The operator has cancelled the run."""


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """Waits for one object at `place`. `say` receives progress lines; `stop` is set when the run is cancelled."""

    cluster: Cluster
    kinds: Kinds
    place: Place
    say: Callable[[str], None]
    stop: asyncio.Event

    async def ready(self, live: Object, timeout_s: float) -> Object:
        """Wait until the object is ready; return it. Raises `NotReady`, `Cancelled`, `Unreachable`."""
        deadline, reported, seen, related = time.monotonic() + timeout_s, "", live, readiness.NOTHING
        missed, outage = readiness.missed_deadline(live), _Outage(self.say)
        if isinstance(readiness.judge(seen), Ready):
            return seen
        async with aclosing(self._changes(seen, outage)) as changes:
            async for change in changes:
                if change is not None and not change:
                    raise NotReady(seen, "it was deleted during the wait")
                seen = change or seen
                related = await self._poll_related(seen, related, deadline - time.monotonic())
                verdict = readiness.judge(seen, replace(related, deadline=missed))
                if isinstance(verdict, Ready):
                    return seen
                if isinstance(verdict, Failed):
                    raise NotReady(seen, verdict.reason)
                if verdict.reason != reported:
                    reported = verdict.reason
                    self.say(reported)
                if time.monotonic() > deadline:
                    raise NotReady(seen, f"not ready after {timeout_s:.0f} s: {verdict.reason}{outage.words}")
        raise AssertionError("changes never end by themselves")

    async def gone(self, live: Object, timeout_s: float) -> None:
        """Wait until the object with this uid no longer exists. Raises `NotReady`, `Cancelled`."""
        deadline, reported, uid = time.monotonic() + timeout_s, "", metadata(live).get("uid")
        outage = _Outage(self.say)
        async with aclosing(self._changes(live, outage)) as changes:
            async for change in changes:
                if change is not None and (not change or (uid and metadata(change).get("uid") != uid)):
                    return
                live = change or live
                reason = _remains(live)
                if reason != reported:
                    reported = reason
                    self.say(f"being deleted: {reason}")
                if time.monotonic() > deadline:
                    raise NotReady(live, f"still there after {timeout_s:.0f} s: {reason}{outage.words}")

    async def verdict(self, live: Object) -> Verdict:
        """Return the verdict on the object at this moment, for a read."""
        first = readiness.judge(live)
        if isinstance(first, Ready):
            return first
        return readiness.judge(live, await self._poll_related(live, readiness.NOTHING, POLL_TIMEOUT_S))

    async def _poll_related(self, live: Object, before: Related, within_s: float) -> Related:
        """Return the related objects; `before` if the server does not answer. The watch limits the outage's length."""
        try:
            async with asyncio.timeout(max(0.0, min(within_s, POLL_TIMEOUT_S))):
                return await self._related(live)
        except ApiError as error:
            return before if error.busy else readiness.NOTHING  # no right to read pods: judge only the object
        except (Unreachable, TimeoutError):
            return before

    async def _changes(self, live: Object, outage: _Outage) -> Any:
        """Yield the object after each change, an empty one after its deletion, and None when the next poll is due."""
        queue: asyncio.Queue[Object | Exception] = asyncio.Queue()
        watcher = asyncio.create_task(self._watch(live, queue, outage))
        stopped = asyncio.create_task(self.stop.wait())
        try:
            while True:
                taken = asyncio.create_task(queue.get())
                done, _ = await asyncio.wait({taken, stopped}, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
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

    async def _watch(self, live: Object, queue: asyncio.Queue[Object | Exception], outage: _Outage) -> None:
        """Watch the object repeatedly: a watch ends by itself and with its server.

        Put every final error into the queue, because the result of this task is never read.
        """
        try:
            while True:
                try:
                    async with aclosing(self._followed(live)) as changes:
                        async for change in changes:
                            outage.over()
                            queue.put_nowait(change)
                except (ApiError, Unreachable) as error:
                    if isinstance(error, ApiError) and error.gone:
                        queue.put_nowait({})
                        return
                    outage.because(error)
                await asyncio.sleep(REWATCH_S)
        except (ApiError, ResourceFailed) as error:
            queue.put_nowait(error)
        except Exception as error:
            logging.getLogger(__name__).exception("a watch ended")
            queue.put_nowait(ResourceFailed(f"it cannot be watched: {type(error).__name__}: {error}"))

    async def _followed(self, live: Object) -> AsyncGenerator[Object]:
        """Read the object, then watch it from that version. Yield only while the watch is open; empty if deleted."""
        namespace, name = namespace_of(live), name_of(live)
        seen = await self.cluster.get_once(self.place.path(namespace, name))
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": metadata(seen)["resourceVersion"]}
        async with self.cluster.watch(self.place.path(namespace), **query) as events:
            yield seen
            async for event in events:
                if event["type"] == "ERROR":
                    return  # the version is too old: read the object again
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
        """Return a Deployment's ReplicaSets. Without the right to read them, return none: no early rollback then."""
        try:
            path = f"/apis/apps/v1/namespaces/{namespace_of(live)}/replicasets"
            found = await self._list(path, selector, "ReplicaSet")
        except ApiError:
            return ()
        return readiness.owned(found, str(metadata(live).get("uid")))

    async def _list(self, path: str, selector: str, kind: str) -> list[Object]:
        """Return the items of a list with their kind, which the server leaves out."""
        return [{"kind": kind, **item} for item in (await self.cluster.get_once(path, labelSelector=selector))["items"]]

    async def _warnings(self, namespace: str, about: Sequence[Object]) -> Sequence[Object]:
        """Return the newest warnings about these objects."""
        query = {"fieldSelector": "type=Warning", "limit": "500"}
        items = (await self.cluster.get_once(f"/api/v1/namespaces/{namespace}/events", **query))["items"]
        found = [item for item in items if any(readiness.concerns(item, one) for one in about)]
        found.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
        return found[-WARNINGS:]

    async def _binding_mode(self, live: Object) -> str:
        name = (live.get("spec") or {}).get("storageClassName")
        if not name:
            return ""
        try:
            found = await self.cluster.get_once(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
        except ApiError:
            return ""
        return str(found.get("volumeBindingMode") or "")


class _Outage:
    """An outage of the API server. It is reported once and has a maximum length."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._since = say, 0.0

    @property
    def words(self) -> str:
        """Suffix for a reason that may be out of date."""
        duration_s = time.monotonic() - self._since
        return f" (the API server has been unreachable for {duration_s:.0f} s)" if self._since else ""

    def over(self) -> None:
        """Record the end of the outage."""
        self._since = 0.0

    def because(self, error: ApiError | Unreachable) -> None:
        """Record the outage. Raise the error if it is permanent, or if the outage has lasted too long."""
        expired = isinstance(error, ApiError) and error.code == 410  # the watched version: it is read again
        passing = expired or (error.busy if isinstance(error, ApiError) else error.passing)
        if not passing or (self._since and time.monotonic() - self._since > MAX_OUTAGE_S):
            raise error
        if not self._since:
            self._since = time.monotonic()
            self._say(f"the API server is {'busy' if isinstance(error, ApiError) else 'unreachable'}; waiting for it")


def _texts(events: Sequence[Object]) -> tuple[str, ...]:
    return tuple(str(event.get("message") or event.get("reason")) for event in events)


def _remains(live: Object) -> str:
    """Return the reason why an object that is being deleted still exists."""
    conditions = (live.get("status") or {}).get("conditions") or ()
    telling = [c["message"] for c in conditions if c.get("status") == "True" and c.get("message")]
    if live.get("kind") == "Namespace" and telling:
        return "; ".join(telling)
    finalizers = metadata(live).get("finalizers") or ()
    if finalizers:
        return f"it waits for {', '.join(finalizers)}"
    return "it is ending"
