"""A wait survives a short outage of the API server, and always ends in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from stacks.providers.kubernetes import wait
from stacks.providers.kubernetes.api import ApiError, Unreachable
from stacks.providers.kubernetes.discovery import Kinds, Place
from stacks.providers.kubernetes.objects import Object
from stacks.providers.kubernetes.wait import NotReady, Waiter
from stacks.providers.resource import ResourceFailed
from tests.unit.kubernetes.clusters import answer, cluster

PLACE = Place("/apis/apps/v1", "deployments", True)
ONE = "/apis/apps/v1/namespaces/bureau/deployments/web"
ALL = "/apis/apps/v1/namespaces/bureau/deployments"
PODS = "/api/v1/namespaces/bureau/pods"
VERSIONS = "/apis/apps/v1/namespaces/bureau/replicasets"
EVENTS = "/api/v1/namespaces/bureau/events"


def deployment(ready: int) -> Object:
    """Return a Deployment of one pod."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "bureau", "uid": "1", "generation": 1, "resourceVersion": "7"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": ready},
    }


class Server:
    """Answers by path with a value, or with a function of the number of earlier requests. A watch has no events."""

    def __init__(self, **paths: Any) -> None:
        self.paths: dict[str, Any] = {ONE: deployment(0), ALL: None}
        self.paths |= {path: {"items": []} for path in (PODS, VERSIONS, EVENTS)}
        self.paths |= {globals()[name]: value for name, value in paths.items()}
        self.counted: dict[str, int] = {}

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        before = self.counted.get(path, 0)
        self.counted[path] = before + 1
        found = self.paths[path]
        if callable(found):
            found = found(before)
        if isinstance(found, Exception):
            raise found
        if found == "hangs":
            await asyncio.sleep(60)
        if isinstance(found, httpx2.Response):
            return httpx2.Response(found.status_code, content=found.content)
        return httpx2.Response(200, content=quiet()) if found is None else answer(200, **found)


async def quiet() -> AsyncIterator[bytes]:
    """A watch that ends soon."""
    await asyncio.sleep(0.01)
    yield b"\n"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale seconds down to hundredths."""
    for name, value in {"POLL_S": 0.02, "REWATCH_S": 0.01, "MAX_OUTAGE_S": 0.3, "POLL_TIMEOUT_S": 0.1}.items():
        monkeypatch.setattr(wait, name, value)


def waited(server: Server, within_s: float = 5.0) -> tuple[Object, list[str]]:
    """Return the result of waiting for a Deployment, and the reported lines."""
    lines: list[str] = []

    async def wait() -> Object:
        reached = cluster(server)
        waiter = Waiter(cluster=reached, kinds=Kinds(reached), place=PLACE, say=lines.append, stop=asyncio.Event())
        return await waiter.ready(deployment(0), within_s)

    return asyncio.run(wait()), lines


def first(times: int, trouble: Any, then: Any) -> Callable[[int], Any]:
    return lambda before: trouble if before < times else then


TROUBLE = {
    "refuses connections": httpx2.ConnectError("refused"),
    "fills its caches": answer(429, reason="TooManyRequests", message="storage is (re)initializing"),
    "shuts down": answer(503, message="apiserver is shutting down"),
    "has forgotten the version": answer(410, reason="Expired", message="too old resource version"),
}


@pytest.mark.parametrize("what", TROUBLE)
def test_a_watch_starts_again_when_the_server_answers(what: str) -> None:
    server = Server(ONE=first(4, deployment(0), deployment(1)), ALL=first(3, TROUBLE[what], None))
    ready, lines = waited(server)
    assert ready == deployment(1)
    assert sum("waiting for it" in line for line in lines) == 1, lines


@pytest.mark.parametrize("what", [what for what in TROUBLE if what != "refuses connections"])
def test_a_watch_that_never_opens_ends_in_time(what: str) -> None:
    with pytest.raises(ApiError):
        waited(Server(ALL=TROUBLE[what]))


def test_a_server_that_stays_unreachable_is_named() -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        waited(Server(ONE=TROUBLE["refuses connections"], ALL=TROUBLE["refuses connections"]))


@pytest.mark.parametrize("what", TROUBLE)
def test_unreadable_related_objects_do_not_decide(what: str) -> None:
    """The watch is open and sees that the object becomes ready."""
    server = Server(PODS=TROUBLE[what], ONE=first(20, deployment(0), deployment(1)))
    assert waited(server)[0] == deployment(1)


@pytest.mark.parametrize("path", ["PODS", "ONE"])
def test_a_hanging_server_does_not_extend_the_timeout_of_a_resource(path: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotReady, match="not ready after 0 s: 0 of 1 pods are ready"):
        waited(Server(**{path: "hangs"}), within_s=0.4)
    assert time.monotonic() - began < 3


def test_a_reason_that_may_be_out_of_date_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "MAX_OUTAGE_S", 30)
    with pytest.raises(NotReady, match=r"0 of 1 pods are ready \(the API server has been unreachable for \d+ s\)"):
        waited(Server(ONE=TROUBLE["refuses connections"]), within_s=0.2)


def test_an_unexpected_error_of_a_watch_ends_the_wait() -> None:
    """The error is reported."""
    broken = {**deployment(0), "metadata": {"name": "web", "namespace": "bureau"}}
    with pytest.raises(ResourceFailed, match="it cannot be watched: KeyError"):
        waited(Server(ONE=broken))


def test_only_warnings_about_the_object_and_its_dependents_are_reported() -> None:
    def warning(kind: str, name: str) -> Object:
        return {"involvedObject": {"kind": kind, "name": name}, "message": f"{name} is not well"}

    owned = {"metadata": {"name": "web-5f", "ownerReferences": [{"uid": "1"}]}}
    theirs = {"metadata": {"name": "web-6a", "ownerReferences": [{"uid": "2"}]}}
    events = [warning("ReplicaSet", "web-5f"), warning("ReplicaSet", "web-6a"), warning("Deployment", "web-admin")]
    with pytest.raises(NotReady) as caught:
        waited(Server(VERSIONS={"items": [owned, theirs]}, EVENTS={"items": events}), within_s=0.3)
    assert "web-5f is not well" in caught.value.reason
