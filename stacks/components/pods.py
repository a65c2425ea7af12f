"""Pods as the platform wants them: the plain object, decided from plain values.

Every pod passes the Pod Security level `restricted`. It has no token of the cluster's, resolves names as its node does
(there is no name service in the cluster) and writes to nothing that outlives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

Manifest = Any
"""A part of an object in Kubernetes' own words. The SDK takes them, but its types know its own words only."""

CONTAINER = "main"
FILES, SECRET_FILES = "files", "secret-files"
PORT_NAME = "http"
LAST_WORDS = "FallbackToLogsOnError"
"""Why a container crashed is told with it, by the end of its log."""
USER = 65532
"""As in the images that `tools.oci` builds; `restricted` wants one that is not root."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question over HTTP; anything from 200 to 399 within `timeout_s` is a yes. `failures` in a row are a no."""

    path: str
    port: int = 0
    """0: that on which requests come."""
    period_s: int = 2
    timeout_s: int = 1
    failures: int = 2


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Of one pod: what is kept for it, and what it may take at most.

    There is no limit on processors: a pod that has waited for its share of a tenth of a second answers late.
    """

    cpu_millis: int
    memory_mib: int
    memory_limit_mib: int = 0
    """0: what is kept for it is all it may take."""


def labels_of(name: str) -> dict[str, str]:
    """By which a workload's objects and pods are found."""
    return {"app.kubernetes.io/name": name}


def file_key(path: str) -> str:
    """A file's key in the ConfigMap."""
    return path.strip("/").replace("/", "__")


def pod_spec(
    name: str,
    *,
    image: str,
    port: int,
    command: tuple[str, ...],
    resources: Resources,
    ready: Probe,
    alive: Probe | None,
    started: Probe | None,
    environment: Mapping[str, pulumi.Input[str]],
    secrets: tuple[str, ...],
    fields: Mapping[str, str],
    files: tuple[str, ...],
    secret_files: tuple[str, ...],
    files_from: pulumi.Input[str],
    secrets_from: pulumi.Input[str],
    writable: tuple[str, ...],
    drain_s: int,
    grace_s: int,
    priority_class: str,
) -> Manifest:
    """The pod of a workload; `secrets` are keys of the Secret `secrets_from`, files paths in it and in the ConfigMap
    `files_from`."""
    asked = {"readinessProbe": ready, "livenessProbe": alive, "startupProbe": started}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": PORT_NAME, "containerPort": port, "protocol": "TCP"}],
        "resources": _resources(resources),
        "terminationMessagePolicy": LAST_WORDS,
        "lifecycle": {"preStop": {"sleep": {"seconds": drain_s}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": _mounts({FILES: files, SECRET_FILES: secret_files}, writable),
        **{field: _probe(probe) for field, probe in asked.items() if probe},
    }
    # The API server leaves out what is empty, which would be found to differ ever after.
    if told := _environment(environment, secrets, secrets_from, fields):
        container["env"] = told
    if command:
        container["command"] = list(command)
    spec: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",  # two pods on the last node are better than one
                "labelSelector": {"matchLabels": labels_of(name)},
                "matchLabelKeys": ["pod-template-hash"],
            }
        ],
        "containers": [container],
        "volumes": [
            *([{"name": FILES, "configMap": {"name": files_from}}] if files else []),
            # A key is read by the pod's own account.
            *(
                [{"name": SECRET_FILES, "secret": {"secretName": secrets_from, "defaultMode": 0o440}}]
                if secret_files
                else []
            ),
            *({"name": _scratch(index), "emptyDir": {"sizeLimit": "64Mi"}} for index in range(len(writable))),
        ],
    }
    if priority_class:
        spec["priorityClassName"] = priority_class
    return spec


def _environment(
    environment: Mapping[str, pulumi.Input[str]],
    secrets: tuple[str, ...],
    secrets_from: pulumi.Input[str],
    fields: Mapping[str, str],
) -> list[dict[str, Any]]:
    """In an order in which plain texts may refer to the others: `$(NAME)` works backwards only."""
    return [
        *({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()),
        *({"name": key, "valueFrom": {"secretKeyRef": {"name": secrets_from, "key": key}}} for key in secrets),
        *({"name": key, "value": text} for key, text in environment.items()),
    ]


def _resources(wanted: Resources) -> dict[str, Any]:
    limit = wanted.memory_limit_mib or wanted.memory_mib
    return {
        "requests": {"cpu": f"{wanted.cpu_millis}m", "memory": f"{wanted.memory_mib}Mi"},
        "limits": {"memory": f"{limit}Mi"},
    }


def _probe(probe: Probe) -> dict[str, Any]:
    return {
        "httpGet": {"path": probe.path, "port": probe.port or PORT_NAME},
        "periodSeconds": probe.period_s,
        "timeoutSeconds": probe.timeout_s,
        "failureThreshold": probe.failures,
    }


def _mounts(files: Mapping[str, tuple[str, ...]], writable: tuple[str, ...]) -> list[dict[str, Any]]:
    """File by file (`subPath`): a folder as a whole would change under running pods."""
    return [
        *(
            {"name": volume, "mountPath": path, "subPath": file_key(path), "readOnly": True}
            for volume, paths in files.items()
            for path in paths
        ),
        *({"name": _scratch(index), "mountPath": path} for index, path in enumerate(writable)),
    ]


def _scratch(index: int) -> str:
    return f"scratch-{index}"
