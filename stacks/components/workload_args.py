"""The arguments of a workload: its program, resources, probes, settings and Service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

_BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")


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
    """Resources of one pod. The limit of its memory equals the request.

    There is no processor limit: a throttled pod would wait for its share of each tenth of a second, and answer late.
    """

    cpu_millis: int
    memory_mib: int


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """The Service in front of the pods.

    `cluster_ips` are fixed addresses, IPv4 first, if other programs must know them.
    """

    port: int
    cluster_ips: tuple[str, ...] = ()
    more: tuple[int, ...] = ()
    """Other ports of the pods. The Service has them under the same numbers."""


@dataclass(frozen=True, kw_only=True)
class WorkloadArgs:
    """The program, its resources, and its settings.

    The text of an environment variable may refer to others as `$(NAME)`: to those of `fields` and `secrets`, and to
    earlier ones of `environment`. `fields` are paths in the pod's own object, such as `status.hostIP`. `files` and
    `secret_files` are read-only, by absolute path.
    """

    namespace: pulumi.Input[str]
    image: str
    """With its digest, so that every site runs the same program."""
    replicas: int
    resources: Resources
    port: int
    """The port on which the pods listen."""
    ready: Probe
    """Passes when a pod can take requests."""
    alive: Probe | None = None
    """Fails when a pod must be restarted. Slower than `ready`."""
    started: Probe | None = None
    """The other two probes start only after this one has passed once."""
    command: tuple[str, ...] = ()
    """Replaces the image's own command."""
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    secret_files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    writable: tuple[str, ...] = ("/tmp",)
    """Folders that a pod may write to; they are deleted with the pod. All other folders are read-only."""
    service: ServiceSpec | None = None
    min_available: int = 1
    """Pods that keep running while a node is drained.

    Must be less than `replicas`, or the node could never be drained.
    """
    drain_s: int = 3
    """A terminating pod still answers for this time, until no client sends it new requests."""
    grace_s: int = 15
    """From the request to terminate until the pod is killed."""
    ready_within_s: int = 120
    """Maximum time for a new version.

    After that it has failed and is rolled back. A version that cannot work fails sooner.
    """
    priority_class: str = ""

    def __post_init__(self) -> None:
        if not _BY_DIGEST.fullmatch(self.image):
            raise ValueError(f"the image {self.image!r} has no digest; write it as NAME@sha256:DIGEST")
        if self.replicas > 1 and not 0 <= self.min_available < self.replicas:
            raise ValueError(f"min_available is {self.min_available} of {self.replicas} replicas; it must be less")
        if self.drain_s >= self.grace_s:
            raise ValueError(f"a pod drains for {self.drain_s} s but is killed after {self.grace_s} s; raise grace_s")
        if unnamed := [path for path in (*self.files, *self.secret_files, *self.writable) if not path.startswith("/")]:
            raise ValueError(f"{unnamed[0]!r} is not an absolute path")
