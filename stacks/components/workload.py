"""A workload on a Kubernetes cluster: its pods and all objects that they need, under one fixed name.

The files and secrets of a pod are part of its version. They are in immutable objects named by their content:
`NAME-FINGERPRINT`. A new content makes a new object and new pods, and a version that is rolled back still finds its own
object. The provider deletes an object when no version refers to it any more. All objects carry the workload's label.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from stacks.components.child_options import child_options
from stacks.components.pods import PORT_NAME, Manifest, file_key, labels_of, pod_spec
from stacks.components.workload_args import Probe, Resources, ServiceSpec, WorkloadArgs
from stacks.providers.kubernetes.objects import ROLL_BACK, VERSION_OF

__all__ = ["Probe", "Resources", "ServiceSpec", "Workload", "WorkloadArgs", "version_of"]


class Workload(pulumi.ComponentResource):
    """The objects of a workload, as attributes. `service` and `budget` are None if not needed."""

    account: k8s.core.v1.ServiceAccount
    deployment: k8s.apps.v1.Deployment
    service: k8s.core.v1.Service | None = None
    budget: k8s.policy.v1.PodDisruptionBudget | None = None

    def __init__(self, name: str, args: WorkloadArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Workload", name, None, opts)
        options = child_options(self, opts)
        metadata: Manifest = {"name": name, "namespace": args.namespace, "labels": labels_of(name)}
        self.account = k8s.core.v1.ServiceAccount(
            f"{name}-account", metadata=metadata, automount_service_account_token=False, opts=options()
        )
        before: list[pulumi.Resource] = [self.account]
        if files := _files(args):
            before.append(
                k8s.core.v1.ConfigMap(
                    f"{name}-files",
                    metadata=_version(metadata, named_by(name, files)),
                    immutable=True,
                    data=files,
                    opts=options(),
                )
            )
        if secrets := _secrets(args):
            before.append(
                k8s.core.v1.Secret(
                    f"{name}-secrets",
                    metadata=_version(metadata, named_by(name, secrets)),
                    immutable=True,
                    type="Opaque",
                    string_data=pulumi.Output.secret(secrets),
                    opts=options(),
                )
            )
        if args.replicas > 1:
            self.budget = k8s.policy.v1.PodDisruptionBudget(
                f"{name}-budget",
                metadata=metadata,
                spec=_budget(name, args),
                opts=options(),
            )
        within = pulumi.CustomTimeouts(create=f"{args.ready_within_s}s", update=f"{args.ready_within_s}s")
        timed = pulumi.ResourceOptions(custom_timeouts=within)
        self.deployment = k8s.apps.v1.Deployment(
            f"{name}-deployment",
            metadata={**metadata, "annotations": {ROLL_BACK: "true"}},
            spec=_deployment(name, args),
            opts=pulumi.ResourceOptions.merge(options(depends_on=before), timed),
        )
        if args.service:
            # Without pods the Service is never ready. The Deployment comes first and reports the cause once.
            self.service = k8s.core.v1.Service(
                f"{name}-service",
                metadata=metadata,
                spec=_service(name, args.service),
                opts=pulumi.ResourceOptions.merge(options(depends_on=[self.deployment]), timed),
            )
        self.register_outputs({})


def version_of(name: str, args: WorkloadArgs) -> pulumi.Output[str]:
    """Return the fingerprint of a workload's pods. A different fingerprint means that the pods are rolled."""
    return pulumi.Output.unsecret(pulumi.Output.from_input(_deployment(name, args)["template"]).apply(fingerprint))


def _deployment(name: str, args: WorkloadArgs) -> Manifest:
    """Return the Deployment. It stops no pod before its replacement is ready."""
    return {
        "replicas": args.replicas,
        "selector": {"matchLabels": labels_of(name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": args.ready_within_s,
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {"labels": labels_of(name)},
            "spec": pod_spec(
                name, args, files_from=named_by(name, _files(args)), secrets_from=named_by(name, _secrets(args))
            ),
        },
    }


def _files(args: WorkloadArgs) -> Mapping[str, pulumi.Input[str]]:
    """Return the data of the ConfigMap. Empty if the workload needs none."""
    return {file_key(path): text for path, text in args.files.items()}


def _secrets(args: WorkloadArgs) -> Mapping[str, pulumi.Input[str]]:
    """Return the data of the Secret. Empty if the workload needs none."""
    return {**args.secrets, **{file_key(path): text for path, text in args.secret_files.items()}}


def _version(metadata: Manifest, name: pulumi.Output[str]) -> Manifest:
    """Return the metadata of an immutable object.

    Its label tells the provider to which workload the version belongs.
    """
    return {**metadata, "name": name, "labels": {**metadata["labels"], VERSION_OF: metadata["name"]}}


def _budget(name: str, args: WorkloadArgs) -> Manifest:
    return {
        "minAvailable": args.min_available,
        "selector": {"matchLabels": labels_of(name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # an unhealthy pod must not prevent the drain of a node
    }


def _service(name: str, service: ServiceSpec) -> Manifest:
    spec: dict[str, Any] = {
        "selector": labels_of(name),
        "ports": [
            {"name": PORT_NAME, "port": service.port, "targetPort": PORT_NAME, "protocol": "TCP"},
            *({"name": f"port-{port}", "port": port, "targetPort": port, "protocol": "TCP"} for port in service.more),
        ],
        "ipFamilyPolicy": "RequireDualStack" if len(service.cluster_ips) > 1 else "PreferDualStack",
    }
    if service.cluster_ips:
        families = [f"IPv{ip_address(address).version}" for address in service.cluster_ips]
        spec |= {"clusterIP": service.cluster_ips[0], "clusterIPs": list(service.cluster_ips), "ipFamilies": families}
    return spec


def named_by(name: str, data: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    """Return the name of an object with this content.

    The fingerprint in it is not secret: it only reveals a content that is easy to guess anyway.
    """
    return pulumi.Output.unsecret(
        pulumi.Output.from_input(dict(data)).apply(lambda content: f"{name}-{fingerprint(content)}")
    )


def fingerprint(content: Any) -> str:
    """Return a fingerprint of the content that pods read when they start. A different one means different pods."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
