"""Fields that the API server does not allow to change: a new value needs a new object.

The table is the official provider's. If the tables differed, a switch between the providers would replace objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stacks.providers.kubernetes.objects import Kind, kind_of

Path = tuple[str | int, ...]

IDENTITY = (("metadata", "name"), ("metadata", "namespace"))

_VOLUMES = """
    awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs
    hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume
"""
_POD = """
    affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork hostPID
    hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName readinessGates
    restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName
    shareProcessNamespace subdomain terminationGracePeriodSeconds volumes
"""
_CONTAINER = """
    args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources securityContext stdin
    stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir
"""
_EACH = "*"
_CONTAINERS = [
    ("spec", lists, _EACH, field) for lists in ("containers", "initContainers") for field in _CONTAINER.split()
]


def _spec(*fields: str) -> list[Path]:
    return [("spec", field) for field in fields]


_ROLE: list[Path] = [("roleRef",)]
_TABLE: dict[tuple[str, str], list[Path]] = {
    ("apps", "DaemonSet"): _spec("selector"),
    ("apps", "Deployment"): _spec("selector"),
    ("apps", "StatefulSet"): _spec(
        "podManagementPolicy", "revisionHistoryLimit", "selector", "serviceName", "volumeClaimTemplates"
    ),
    ("batch", "Job"): _spec("completions", "parallelism", "selector", "template"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _ROLE,
    ("rbac.authorization.k8s.io", "RoleBinding"): _ROLE,
    ("storage.k8s.io", "StorageClass"): [("parameters",), ("provisioner",)],
    ("", "PersistentVolume"): _spec(*_VOLUMES.split()),
    ("", "PersistentVolumeClaim"): _spec("accessModes", "selector", "storageClassName", "volumeName"),
    ("", "Pod"): [*_spec(*_POD.split()), *_CONTAINERS],
    ("", "ResourceQuota"): _spec("scopes"),
    ("", "Secret"): [("type",)],
    ("", "Service"): _spec("clusterIP"),
}


def fields(obj: Mapping[str, Any], *, config_maps_change: bool, secrets_change: bool) -> tuple[Path, ...]:
    """Return the fields whose change replaces the object. `*` means every element of a list.

    ConfigMaps and Secrets are replaced unless the provider's settings let them change in place.
    """
    kind: Kind = kind_of(obj)
    found = [*IDENTITY, *_TABLE.get((kind.group, kind.kind), ())]
    frozen = obj.get("immutable") is True
    if (kind.group, kind.kind) == ("", "Secret") and (frozen or not secrets_change):
        found += [("stringData",), ("data",)]
    if (kind.group, kind.kind) == ("", "ConfigMap") and (frozen or not config_maps_change):
        found += [("binaryData",), ("data",)]
    return tuple(found)


def replaces(path: Path, frozen: tuple[Path, ...]) -> bool:
    """Return whether a change at `path` touches, is inside or contains an immutable field."""
    return any(all(_meets(a, b) for a, b in zip(path, field, strict=False)) for field in frozen)


def _meets(step: str | int, wanted: str | int) -> bool:
    return step == wanted or (wanted == _EACH and isinstance(step, int))
