"""The specification of a pod on the platform: a plain object, made from plain values.

Every pod passes the Pod Security level `restricted`. It has no token for the cluster. It resolves names with its node's
settings, because the cluster has no DNS service. It writes only to folders that are deleted with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

Manifest = Any
"""A part of a Kubernetes object in camelCase. The SDK accepts it, but its types only know snake_case names."""

CONTAINER = "main"
FILES, SECRET_FILES = "files", "secret-files"
PORT_NAME = "http"
TERMINATION_MESSAGE_POLICY = "FallbackToLogsOnError"
"""The status of a crashed container contains the end of its log, so that the operator sees the cause."""
USER = 65532
"""The same ID as in the images that `tools.oci` builds. `restricted` requires a user that is not root."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """An HTTP check. A status from 200 to 399 within `timeout_s` passes.

    `failures` failures in a row count as failed.
    """

    path: str
    port: int = 0
    """0 means the port for requests."""
    period_s: int = 2
    timeout_s: int = 1
    failures: int = 2


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources of one pod: requests and limits.

    There is no processor limit: a throttled pod would wait for its share of each tenth of a second, and answer late.
    """

    cpu_millis: int
    memory_mib: int
    memory_limit_mib: int = 0
    """0 means that the limit equals the request."""


def labels_of(name: str) -> dict[str, str]:
    """Return the labels that identify a workload's objects and pods."""
    return {"app.kubernetes.io/name": name}


def file_key(path: str) -> str:
    """Return a file's key in the ConfigMap."""
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
    """Return the pod specification of a workload.

    `secrets` are keys of the Secret `secrets_from`. `files` are paths of files in the ConfigMap `files_from`,
    `secret_files` in the Secret.
    """
    probes = {"readinessProbe": ready, "livenessProbe": alive, "startupProbe": started}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": PORT_NAME, "containerPort": port, "protocol": "TCP"}],
        "resources": _resources(resources),
        "terminationMessagePolicy": TERMINATION_MESSAGE_POLICY,
        "lifecycle": {"preStop": {"sleep": {"seconds": drain_s}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": _mounts({FILES: files, SECRET_FILES: secret_files}, writable),
        **{field: _probe(probe) for field, probe in probes.items() if probe},
    }
    # The API server drops empty fields. A declared empty field would be reported as a difference forever.
    if variables := _environment(environment, secrets, secrets_from, fields):
        container["env"] = variables
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
            # The mode lets the pod's own user read a key.
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
    """Return the variables in an order that plain texts can refer to: `$(NAME)` only works for earlier variables."""
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
    """Return one mount per file (`subPath`). A mounted folder would change under running pods."""
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
