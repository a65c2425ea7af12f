"""ConfigMaps and Secrets that belong to versions of a workload (label `govcloud/version-of`).

The engine ends such an object when its program declares another in its place. A version that is rolled back, or that a
ReplicaSet of the history brings back, still reads it: it stays until no version refers to it. Then nobody declares it
any more, so it goes with the next of its like that is ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stacks.providers.kubernetes.lifecycle import ObjectLifecycle
from stacks.providers.kubernetes.objects import VERSION_OF, Object, kind_of, label, name_of, namespace_of

REFERENCES = {
    "ConfigMap": (("configMap", "name"), ("configMapRef", "name"), ("configMapKeyRef", "name")),
    "Secret": (("secret", "secretName"), ("secret", "name"), ("secretRef", "name"), ("secretKeyRef", "name")),
}
"""Where in a pod objects of the kind are named."""


def is_revision_object(obj: Object) -> bool:
    """Whether it belongs to versions of a workload."""
    return bool(label(obj, VERSION_OF)) and kind_of(obj).kind in REFERENCES


def unreferred(alike: list[Object], bearers: list[Object], kind: str) -> list[Object]:
    """Of the objects those that no Deployment or ReplicaSet among `bearers` starts pods from."""
    wanted = {name for bearer in bearers for name in _named(bearer["spec"]["template"], kind)}
    return [obj for obj in alike if name_of(obj) not in wanted]


async def delete_unreferenced(life: ObjectLifecycle, obj: Object, timeout_s: float) -> None:
    """End all of its like that no version refers to; the object itself may be kept. Raises as `life.delete`."""
    kind, namespace = kind_of(obj), namespace_of(obj)
    place = await life.place(obj)
    if place is None:
        return
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    # The versions last: what one begins to refer to meanwhile is seen.
    labelled = await life.cluster.get(place.path(namespace), labelSelector=f"{VERSION_OF}={label(obj, VERSION_OF)}")
    alike = [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in labelled["items"]]
    bearers = [
        bearer
        for kinds in ("deployments", "replicasets")
        for bearer in (await life.cluster.get(f"{apps}/{kinds}"))["items"]
    ]
    ended = unreferred(alike, bearers, kind.kind)
    if name_of(obj) in {name_of(one) for one in alike} - {name_of(one) for one in ended}:
        life.say("it is kept: a version before refers to it")
    for one in ended:
        await life.delete(one, timeout_s)


def _named(value: Any, kind: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for field, key in REFERENCES[kind]:
            inner = value.get(field)
            if isinstance(inner, Mapping) and key in inner:
                yield str(inner[key])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named(item, kind)
