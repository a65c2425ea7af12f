"""What was seen, as frozen values. Something that did not answer is there too, with the reason: it is data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a database member is just now."""

    PRIMARY = "primary"
    STANDBY = "standby"
    UNKNOWN = "unknown"


class Announcement(StrEnum):
    """How a site announces a service's address."""

    ANNOUNCED = "announced"
    LAST_RESORT = "last-resort"
    """Unhealthy, and announced below everyone else, so that the last site never withdraws."""
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class HostObservation:
    """Whether the operator reached a host, and its own word about itself. Times in seconds."""

    host: str
    place: str
    reachable: bool
    reason: str = ""
    """Why it was not reached."""
    failed_units: tuple[str, ...] = ()
    uptime_s: float | None = None
    clock_offset_s: float | None = None
    """Its clock minus ours, to within half the time of the call."""


@dataclass(frozen=True, kw_only=True)
class BgpSession:
    """A BGP session of one of our edges over a link, in one family."""

    router: str
    site: str
    link: str
    neighbour: str
    family: int
    """4 or 6."""
    established: bool
    state: str
    bfd_up: bool | None
    """None where BFD said nothing."""
    prefixes: int = 0
    """Received and accepted."""


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What a site does with a service's address of one family."""

    site: str
    service: str
    family: int
    state: Announcement


@dataclass(frozen=True, kw_only=True)
class DatabaseMember:
    """A database member. Positions in bytes of WAL; None where it did not say."""

    host: str
    site: str
    role: Role
    running: bool
    """PostgreSQL itself answers; a standby must also be streaming."""
    patroni: bool
    """Patroni's REST API answers."""
    state: str = ""
    """Patroni's word, such as `streaming`."""
    timeline: int | None = None
    position: int | None = None
    """Flushed: what the member would keep if its site lost power now."""
    replayed: int | None = None
    lag_bytes: int | None = None
    """Behind the primary's own position; None without exactly one primary."""
    sync: bool = False
    """The primary counts its acknowledgement."""
    sender: str | None = None
    """Address from which a standby receives."""
    kept_forks: int = 0
    """How often its diverged WAL was kept for a person to look at; nobody removes it but a person."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class EtcdMember:
    """An etcd member."""

    host: str
    site: str
    healthy: bool
    leader: bool = False
    term: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A health path of a service, asked once. `asked_from` is a vantage's host, or the site's own host."""

    service: str
    asked_from: str
    place: str
    path: str
    """healthz, readyz or writez."""
    family: int
    status: int | None
    site: str | None = None
    """Which site answered."""
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
    """The pods that a cluster runs of a service."""

    service: str
    ready: int
    wanted: int | None
    """None where the cluster has none of it declared."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A site's Kubernetes cluster, by its own API server."""

    site: str
    host: str
    """Where the API server runs."""
    answers: bool
    """The API server reads its etcd and answers."""
    nodes_ready: int = 0
    nodes: int = 0
    workloads: tuple[Workload, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Everything that was seen in one observation."""

    at: float
    """Seconds since 1970 when the observation began."""
    took_s: float
    hosts: tuple[HostObservation, ...]
    sessions: tuple[BgpSession, ...]
    announced: tuple[Announced, ...]
    members: tuple[DatabaseMember, ...]
    synchronous_standby_names: str | None
    """As the primary has it; None without a primary that says so."""
    paused: bool | None
    """Whether Patroni's automatic failover is off; None where nobody said."""
    votes: tuple[EtcdMember, ...]
    sites: tuple[HealthCheck, ...]
    """Each site's service, asked on its own address from within."""
    vantages: tuple[HealthCheck, ...]
    """Each service at its anycast addresses, asked from where its users are."""
    clusters: tuple[Cluster, ...] = ()

    @property
    def primary(self) -> DatabaseMember | None:
        """The primary, if exactly one running member says that it is."""
        found = self.primaries
        return found[0] if len(found) == 1 else None

    @property
    def primaries(self) -> tuple[DatabaseMember, ...]:
        """Every running member that says it is primary. More than one is an emergency."""
        return tuple(member for member in self.members if member.role is Role.PRIMARY and member.running)

    @property
    def leader(self) -> EtcdMember | None:
        """etcd's leader, as it says itself."""
        return next((vote for vote in self.votes if vote.leader), None)

    def host(self, name: str) -> HostObservation:
        """The host of that name; KeyError where it was not asked."""
        for seen in self.hosts:
            if seen.host == name:
                return seen
        raise KeyError(name)
