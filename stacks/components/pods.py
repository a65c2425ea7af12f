"""The specification of a pod on the platform: a plain object, made from the arguments of a workload.

Every pod passes the Pod Security level `restricted`. It has no token for the cluster. It resolves names with its node's
settings, because the cluster has no DNS service. It writes only to folders that are deleted with it.
"""

from __future__ import annotations

from typing import Any

import pulumi

from stacks.components.workload_args import Probe, Resources, WorkloadArgs

Manifest = Any
"""A part of a Kubernetes object in camelCase. The SDK accepts it, but its types only know snake_case names."""

CONTAINER = "main"
FILES, SECRET_FILES = "files", "secret-files"
PORT_NAME = "http"
TERMINATION_MESSAGE_POLICY = "FallbackToLogsOnError"
"""The status of a crashed container contains the end of its log, so that the operator sees the cause."""
USER = 65532
"""The same ID as in the images that `tools.oci` builds. `restricted` requires a user that is not root."""


def labels_of(name: str) -> dict[str, str]:
    """Return the labels that identify a workload's objects and pods."""
    return {"app.kubernetes.io/name": name}


def file_key(path: str) -> str:
    """Return a file's key in the ConfigMap."""
    return path.strip("/").replace("/", "__")


def pod_spec(
    name: str, args: WorkloadArgs, *, files_from: pulumi.Input[str], secrets_from: pulumi.Input[str]
) -> Manifest:
    """Return the pod specification of a workload, with its ConfigMap `files_from` and its Secret `secrets_from`."""
    spec: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": args.grace_s,
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
        "containers": [_container(args, secrets_from)],
        "volumes": _volumes(args, files_from, secrets_from),
    }
    if args.priority_class:
        spec["priorityClassName"] = args.priority_class
    return spec


def _container(args: WorkloadArgs, secrets_from: pulumi.Input[str]) -> dict[str, Any]:
    probes = {"readinessProbe": args.ready, "livenessProbe": args.alive, "startupProbe": args.started}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": args.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": PORT_NAME, "containerPort": args.port, "protocol": "TCP"}],
        "resources": _resources(args.resources),
        "terminationMessagePolicy": TERMINATION_MESSAGE_POLICY,
        "lifecycle": {"preStop": {"sleep": {"seconds": args.drain_s}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": _mounts(args),
        **{field: _probe(probe) for field, probe in probes.items() if probe},
    }
    # The API server drops empty fields. A declared empty field would be reported as a difference forever.
    if variables := _environment(args, secrets_from):
        container["env"] = variables
    if args.command:
        container["command"] = list(args.command)
    return container


def _environment(args: WorkloadArgs, secrets_from: pulumi.Input[str]) -> list[dict[str, Any]]:
    """Return the variables in an order that plain texts can refer to: `$(NAME)` only works for earlier variables."""
    return [
        *({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in args.fields.items()),
        *({"name": key, "valueFrom": {"secretKeyRef": {"name": secrets_from, "key": key}}} for key in args.secrets),
        *({"name": key, "value": text} for key, text in args.environment.items()),
    ]


def _resources(wanted: Resources) -> dict[str, Any]:
    memory = f"{wanted.memory_mib}Mi"
    return {"requests": {"cpu": f"{wanted.cpu_millis}m", "memory": memory}, "limits": {"memory": memory}}


def _probe(probe: Probe) -> dict[str, Any]:
    return {
        "httpGet": {"path": probe.path, "port": probe.port or PORT_NAME},
        "periodSeconds": probe.period_s,
        "timeoutSeconds": probe.timeout_s,
        "failureThreshold": probe.failures,
    }


def _volumes(
    args: WorkloadArgs, files_from: pulumi.Input[str], secrets_from: pulumi.Input[str]
) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = []
    if args.files:
        volumes.append({"name": FILES, "configMap": {"name": files_from}})
    if args.secret_files:
        # The mode lets the pod's own user read a key.
        volumes.append({"name": SECRET_FILES, "secret": {"secretName": secrets_from, "defaultMode": 0o440}})
    scratch = ({"name": _scratch(index), "emptyDir": {"sizeLimit": "64Mi"}} for index in range(len(args.writable)))
    return [*volumes, *scratch]


def _mounts(args: WorkloadArgs) -> list[dict[str, Any]]:
    """Return one mount per file (`subPath`). A mounted folder would change under running pods."""
    return [
        *(
            {"name": volume, "mountPath": path, "subPath": file_key(path), "readOnly": True}
            for volume, paths in ((FILES, args.files), (SECRET_FILES, args.secret_files))
            for path in paths
        ),
        *({"name": _scratch(index), "mountPath": path} for index, path in enumerate(args.writable)),
    ]


def _scratch(index: int) -> str:
    return f"scratch-{index}"
