"""The running estate as frozen values: the one model that status, drills, moves and upgrades decide on.

A host or daemon that did not answer is a value too, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The role of a database member at the moment of the observation."""

    PRIMARY = "primary"
    STANDBY = "standby"
    UNKNOWN = "unknown"


class Announcement(StrEnum):
    """How a site announces a service's address."""

    ANNOUNCED = "announced"
    LAST_RESORT = "last-resort"
    """Unhealthy, and announced with a worse metric than every other site, so that the last site never withdraws."""
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class HostObservation:
    """Whether the operator reached a host, and what the host reports about itself. Times in seconds."""

    host: str
    place: str
    """The site or peer where the host is."""
    reachable: bool
    reason: str = ""
    """Why it was not reached."""
    failed_units: tuple[str, ...] = ()
    uptime_s: float | None = None
    clock_offset_s: float | None = None
    """The host's clock minus ours. The error is at most half the time of the call."""


@dataclass(frozen=True, kw_only=True)
class BgpSession:
    """A BGP session of one of our edges over a link, in one address family."""

    router: str
    site: str
    link: str
    neighbour: str
    family: int
    """4 or 6."""
    established: bool
    state: str
    bfd_up: bool | None
    """None if BFD reported no such peer."""
    prefixes: int = 0
    """Received and accepted."""


@dataclass(frozen=True, kw_only=True)
class Announced:
    """How a site announces a service's address of one family."""

    site: str
    service: str
    family: int
    state: Announcement


@dataclass(frozen=True, kw_only=True)
class DatabaseMember:
    """A database member. Positions are bytes of WAL, None if the member did not report them."""

    host: str
    site: str
    role: Role
    running: bool
    """PostgreSQL itself answers; a standby must also be streaming."""
    patroni: bool
    """Patroni's REST API answers."""
    state: str = ""
    """Patroni's or the receiver's state, such as `streaming`."""
    timeline: int | None = None
    position: int | None = None
    """Flushed: the WAL that the member would keep if its site lost power now."""
    replayed: int | None = None
    lag_bytes: int | None = None
    """Bytes behind the primary's own position. None unless exactly one primary was observed."""
    sync: bool = False
    """The primary counts its acknowledgement."""
    sender: str | None = None
    """Address from which a standby receives."""
    kept_forks: int = 0
    """How often its diverged WAL was kept for a person. Only a person removes it."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class EtcdMember:
    """A member (one vote) of the etcd cluster that serves Patroni and the locks."""

    host: str
    site: str
    healthy: bool
    leader: bool = False
    term: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """One request to a health path of a service. `asked_from` is a vantage's host, or the site's own host."""

    service: str
    asked_from: str
    place: str
    path: str
    """healthz, readyz or writez."""
    family: int
    status: int | None
    site: str | None = None
    """The site that answered."""
    seconds: float | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """It answered 200."""
        return self.status == 200

    @property
    def why(self) -> str:
        """Why it is not ok, in a few words."""
        return self.reason or (f"status {self.status}" if self.status is not None else "not asked")


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment that the estate puts on a site's cluster: a service, or a bureau's gateway."""

    service: str
    """Name of the Deployment."""
    namespace: str
    declared: int
    """Pods that the estate declares."""
    wanted: int | None
    """Pods that the Deployment in the cluster asks for. None if the cluster has no such Deployment."""
    ready: int
    updated: int = 0
    """Ready pods of the newest template. 0 while the controller has not read the newest template."""
    reason: str = ""
    """Why the Deployment could not be read; empty if it was read or does not exist."""


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """A node as its API server reports it."""

    host: str
    ready: bool
    version: str = ""
    """The kubelet's version, such as 1.37.2."""


@dataclass(frozen=True, kw_only=True)
class TenantDeployment:
    """A bureau's own Deployment that is not complete."""

    namespace: str
    name: str
    ready: int
    wanted: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}: {self.ready} of {self.wanted} pods are ready"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A site's Kubernetes cluster, as its own API server reports it."""

    site: str
    host: str
    """Where the API server runs."""
    answers: bool
    """The API server reads its etcd and answers."""
    nodes_ready: int = 0
    nodes: int = 0
    workloads: tuple[Workload, ...] = ()
    reason: str = ""
    version: str = ""
    """The API server's version, such as 1.37.2. Empty if it did not report it."""
    node_list: tuple[ClusterNode, ...] = ()
    incomplete_tenants: tuple[TenantDeployment, ...] | None = None
    """The bureaus' Deployments that are not complete. None if they were not queried or could not be read."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The whole running estate at one time."""

    at: float
    """Seconds since 1970 when the observation began."""
    took_s: float
    hosts: tuple[HostObservation, ...]
    sessions: tuple[BgpSession, ...]
    announced: tuple[Announced, ...]
    members: tuple[DatabaseMember, ...]
    synchronous_standby_names: str | None
    """The primary's setting. None unless exactly one primary reported it."""
    paused: bool | None
    """Whether Patroni's automatic failover is off. None if no member reported it."""
    votes: tuple[EtcdMember, ...]
    sites: tuple[HealthCheck, ...]
    """Each site's service, asked on its own address from within."""
    vantages: tuple[HealthCheck, ...]
    """Each service at its anycast addresses, asked from where its users are."""
    clusters: tuple[Cluster, ...] = ()

    @property
    def primary(self) -> DatabaseMember | None:
        """The primary, if exactly one running member reports that role."""
        found = self.primaries
        return found[0] if len(found) == 1 else None

    @property
    def primaries(self) -> tuple[DatabaseMember, ...]:
        """Every running member that reports the primary's role. More than one is an emergency."""
        return tuple(member for member in self.members if member.role is Role.PRIMARY and member.running)

    @property
    def leader(self) -> EtcdMember | None:
        """The etcd member that reports itself as leader."""
        return next((vote for vote in self.votes if vote.leader), None)

    def host(self, name: str) -> HostObservation:
        """The host of that name. Raises KeyError if it was not queried."""
        for seen in self.hosts:
            if seen.host == name:
                return seen
        raise KeyError(name)

    def member_at(self, site: str) -> DatabaseMember | None:
        """The first database member of a site."""
        return next((member for member in self.members if member.site == site), None)

    def cluster_at(self, site: str) -> Cluster | None:
        """The cluster of a site."""
        return next((cluster for cluster in self.clusters if cluster.site == site), None)

    def site_reachable(self, site: str) -> bool:
        """Every host of the site was reached."""
        return all(host.reachable for host in self.hosts if host.place == site)

    def site_answers(self, site: str, path: str) -> bool:
        """Every service of the site answers 200 on a health path (healthz, readyz or writez), asked from within."""
        checks = [check for check in self.sites if (check.place, check.path) == (site, path)]
        return bool(checks) and all(check.ok for check in checks)

    def site_announces(self, site: str) -> bool:
        """The site announces the addresses of all its services in both families."""
        found = [one for one in self.announced if one.site == site]
        return bool(found) and all(one.state is Announcement.ANNOUNCED for one in found)
