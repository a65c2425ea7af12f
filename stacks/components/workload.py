"""A workload on a Kubernetes cluster: its pods and everything that stands around them, under one fixed name.

What a pod reads of files and secrets is part of its version: they stand in objects that never change and are named by
their content, `NAME-FINGERPRINT`. Another content is another object and other pods, and a version that is rolled back
finds its own. The provider ends such an object when no version refers to it any more; all carry the workload's label.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from stacks.components.child_options import child_options
from stacks.components.pods import (
    PORT_NAME,
    Manifest,
    Probe,
    Resources,
    file_key,
    labels_of,
    pod_spec,
)
from stacks.providers.kubernetes.objects import ROLL_BACK, VERSION_OF

__all__ = ["Probe", "Resources", "ServiceSpec", "Workload", "WorkloadArgs", "version_of"]

_BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """The Service before the pods. `cluster_ips`: fixed addresses, IPv4 first, where others must know them."""

    port: int
    cluster_ips: tuple[str, ...] = ()
    more: tuple[int, ...] = ()
    """Other ports of the pods, which the Service has under the same numbers."""


@dataclass(frozen=True, kw_only=True)
class WorkloadArgs:
    """What runs, how much of it, and what it is told.

    An environment variable's text may name others as `$(NAME)`: those of `fields` and `secrets`, and earlier ones of
    `environment`. `fields` are paths in the pod's own object, such as `status.hostIP`. `files` and `secret_files` are
    read-only, by absolute path.
    """

    namespace: pulumi.Input[str]
    image: str
    """With its digest: the same reference is the same program at every site."""
    replicas: int
    resources: Resources
    port: int
    """On which the pods listen."""
    ready: Probe
    """Answers when a pod can take requests."""
    alive: Probe | None = None
    """Answers unless a pod must be started again; slower than `ready`."""
    started: Probe | None = None
    """Until it has answered once, the other two are not asked."""
    command: tuple[str, ...] = ()
    """In place of the image's own."""
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secret_files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    writable: tuple[str, ...] = ("/tmp",)
    """Folders that a pod may write to and that go with it; everything else is read-only."""
    service: ServiceSpec | None = None
    min_available: int = 1
    """Pods that stay while a node is emptied; fewer than `replicas`, or it could not be."""
    drain_s: int = 3
    """A pod that ends still answers for so long: until nobody sends it anything new."""
    grace_s: int = 15
    """From the wish to end until it is made to."""
    ready_within_s: int = 120
    """For a new version at most; then it has failed, and the one before is put back. One without hope fails sooner."""
    priority_class: str = ""

    def __post_init__(self) -> None:
        if not _BY_DIGEST.fullmatch(self.image):
            raise ValueError(f"the image {self.image!r} has no digest; write it as NAME@sha256:DIGEST")
        if self.replicas > 1 and not 0 <= self.min_available < self.replicas:
            raise ValueError(f"min_available is {self.min_available} of {self.replicas}; it must be less")
        if self.drain_s >= self.grace_s:
            raise ValueError(f"a pod drains for {self.drain_s} s but is ended after {self.grace_s} s; give it more")
        if unnamed := [path for path in (*self.files, *self.secret_files, *self.writable) if not path.startswith("/")]:
            raise ValueError(f"{unnamed[0]!r} is no absolute path")


class Workload(pulumi.ComponentResource):
    """Attributes are the objects; `service` and `budget` are None where none is wanted."""

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
            # Without a pod it is never ready: what keeps the pods away is told once, by the Deployment.
            self.service = k8s.core.v1.Service(
                f"{name}-service",
                metadata=metadata,
                spec=_service(name, args.service),
                opts=pulumi.ResourceOptions.merge(options(depends_on=[self.deployment]), timed),
            )
        self.register_outputs({})


def version_of(name: str, args: WorkloadArgs) -> pulumi.Output[str]:
    """The fingerprint of a workload's pods: another one means that they are rolled."""
    return pulumi.Output.unsecret(pulumi.Output.from_input(_deployment(name, args)["template"]).apply(fingerprint))


def _deployment(name: str, args: WorkloadArgs) -> Manifest:
    """No pod goes before another is ready in its place."""
    return {
        "replicas": args.replicas,
        "selector": {"matchLabels": labels_of(name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "progressDeadlineSeconds": args.ready_within_s,
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {"labels": labels_of(name)},
            "spec": pod_spec(
                name,
                image=args.image,
                port=args.port,
                command=args.command,
                resources=args.resources,
                ready=args.ready,
                alive=args.alive,
                started=args.started,
                environment=args.environment,
                secrets=tuple(args.secrets),
                fields=args.fields,
                files=tuple(args.files),
                secret_files=tuple(args.secret_files),
                files_from=named_by(name, _files(args)),
                secrets_from=named_by(name, _secrets(args)),
                writable=args.writable,
                drain_s=args.drain_s,
                grace_s=args.grace_s,
                priority_class=args.priority_class,
            ),
        },
    }


def _files(args: WorkloadArgs) -> Mapping[str, pulumi.Input[str]]:
    """Data of the ConfigMap; empty where none is wanted."""
    return {file_key(path): text for path, text in args.files.items()}


def _secrets(args: WorkloadArgs) -> Mapping[str, pulumi.Input[str]]:
    """Data of the Secret; empty where none is wanted."""
    return {**args.secrets, **{file_key(path): text for path, text in args.secret_files.items()}}


def _version(metadata: Manifest, name: pulumi.Output[str]) -> Manifest:
    """Of an object that never changes: which workload it is a version of, its label tells the provider."""
    return {**metadata, "name": name, "labels": {**metadata["labels"], VERSION_OF: metadata["name"]}}


def _budget(name: str, args: WorkloadArgs) -> Manifest:
    return {
        "minAvailable": args.min_available,
        "selector": {"matchLabels": labels_of(name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # what does not work keeps no node from being emptied
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
    """The name of an object with this content. A fingerprint tells no secret that nobody could guess anyway."""
    return pulumi.Output.unsecret(
        pulumi.Output.from_input(dict(data)).apply(lambda kept: f"{name}-{fingerprint(kept)}")
    )


def fingerprint(read: Any) -> str:
    """Of what pods read when they start: another one means other pods."""
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]
