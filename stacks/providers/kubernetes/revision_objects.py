"""ConfigMaps and Secrets that belong to versions of a workload (label `govcloud/version-of`).

The engine deletes such an object when the program declares a new one in its place. A version that is rolled back, or
restored from a ReplicaSet of the history, still reads the old object. The old object therefore stays until no version
refers to it. By then no program declares it, so the next deletion of an object with the same label deletes it too.
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
"""Fields of a pod that refer to objects of the kind."""


def is_revision_object(obj: Object) -> bool:
    """Return whether the object belongs to versions of a workload."""
    return bool(label(obj, VERSION_OF)) and kind_of(obj).kind in REFERENCES


def unreferenced(candidates: list[Object], workloads: list[Object], kind: str) -> list[Object]:
    """Return the candidates that no pod template of the Deployments and ReplicaSets in `workloads` refers to."""
    wanted = {name for workload in workloads for name in _named(workload["spec"]["template"], kind)}
    return [obj for obj in candidates if name_of(obj) not in wanted]


async def delete_unreferenced(life: ObjectLifecycle, obj: Object, timeout_s: float) -> None:
    """Delete all objects with the same label that no version refers to. This may keep the object itself.

    Raises the same errors as `life.delete`.
    """
    kind, namespace = kind_of(obj), namespace_of(obj)
    place = await life.place(obj)
    if place is None:
        return
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    # Read the versions last, so that new references to a listed object are seen.
    labelled = await life.cluster.get(place.path(namespace), labelSelector=f"{VERSION_OF}={label(obj, VERSION_OF)}")
    candidates = [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in labelled["items"]]
    workloads = [
        workload
        for kinds in ("deployments", "replicasets")
        for workload in (await life.cluster.get(f"{apps}/{kinds}"))["items"]
    ]
    unused = unreferenced(candidates, workloads, kind.kind)
    if name_of(obj) in {name_of(one) for one in candidates} - {name_of(one) for one in unused}:
        life.say("it is kept: an earlier version refers to it")
    for one in unused:
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
