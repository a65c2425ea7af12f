"""What failover needs of the world, be it a lab or real sites. Others implement these; nothing here names a tool.

Kept small on purpose: whoever can run a command on a host, switch a site's power and say what is seen, can run every
drill. An implementation raises `workstation.errors.GovcloudError` when it cannot do what was asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Power(Protocol):
    """Electric power of a site or of one host, by its name in the estate. Off is silent: no FIN, no RST, no link
    down."""

    def off(self, target: str) -> None:
        """Takes the power away; returns when it is gone. Already off is no error."""

    def on(self, target: str) -> None:
        """Gives the power back; returns when it is there, not when the machines have started. Already on is no
        error."""

    def is_on(self, target: str) -> bool:
        """True when every host of the target has power."""


class Links(Protocol):
    """Circuits between routers, by their name in the estate."""

    def cut(self, link: str) -> None:
        """Silently drops everything in both directions. Already cut is no error."""

    def heal(self, link: str) -> None:
        """Lifts the cut. Not cut is no error."""

    def is_cut(self, link: str) -> bool:
        """True while it is cut."""


class CommandResult(Protocol):
    """How a command on a host ended; `workstation.ssh.Result` is one."""

    @property
    def returncode(self) -> int:
        """The exit code."""

    @property
    def stdout(self) -> bytes:
        """What it printed."""

    @property
    def stderr(self) -> bytes:
        """What it complained of."""


class Machines(Protocol):
    """Commands on hosts, as root. Files are moved through a command's standard input and output."""

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> CommandResult:
        """Runs `argv` on the host. Raises GovcloudError when the host cannot be reached in `timeout_s` seconds; an exit
        code other than 0 is an answer, not an error."""


class Clock(Protocol):
    """Time, in seconds."""

    def monotonic(self) -> float:
        """For durations."""

    def wall(self) -> float:
        """Seconds since 1970, to relate to other hosts' records."""

    def wait(self, seconds: float) -> None:
        """Lets time pass between two looks at a condition."""


class SystemClock:
    """The operator's machine's own clock."""

    def monotonic(self) -> float:
        """For durations."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Sleeps."""
        time.sleep(seconds)


class Role(StrEnum):
    """What a database member is just now."""

    PRIMARY = "primary"
    SYNC_STANDBY = "sync_standby"
    STANDBY = "standby"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of the database cluster as it was seen. `lag_bytes` is how far it is behind the primary's position,
    None where that is not known; `position` is its own flushed position in bytes; `running` is False when it did not
    answer or is not streaming."""

    host: str
    site: str
    role: Role
    running: bool
    timeline: int | None = None
    lag_bytes: int | None = None
    position: int | None = None


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """One site as it was seen. Sessions are BGP sessions of its routers, votes are etcd members that answer."""

    site: str
    reachable: bool
    ready: bool
    """The service answers in this site (`/readyz`)."""
    writable: bool
    """The service accepts writes in this site (`/writez`)."""
    announced: bool
    """The site announces the service's anycast addresses."""
    sessions_up: int
    sessions_expected: int
    votes_up: int
    votes_expected: int


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """One node of a cluster as its API server tells it. `version` is its kubelet's, as 1.37.2."""

    host: str
    version: str
    ready: bool


@dataclass(frozen=True, kw_only=True)
class ClusterView:
    """A site's Kubernetes cluster as its API server tells it; `version` is the API server's own, as 1.37.2. Of the pods
    those are counted that the estate declares there: its services' and its gateways'."""

    site: str
    version: str
    nodes: tuple[NodeView, ...]
    pods_ready: int
    pods_wanted: int
    absent: tuple[str, ...] = ()
    """Deployments of the estate's own that are not there, as `namespace/name`."""
    others: tuple[str, ...] = ()
    """Deployments of the bureaus' own that are not complete, as `namespace/name: 0 of 2 pods are ready`."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was seen at one time. What could not be asked is absent, and said in `problems`."""

    members: tuple[Member, ...]
    sites: tuple[SiteView, ...]
    problems: tuple[str, ...] = ()
    clusters: tuple[ClusterView, ...] = ()
    """Only where a plan needs them; see `clusters.cluster_views`."""

    @property
    def primary(self) -> Member | None:
        """The primary, if exactly one member says that it is; None otherwise."""
        found = [member for member in self.members if member.role is Role.PRIMARY and member.running]
        return found[0] if len(found) == 1 else None

    def member_at(self, site: str) -> Member | None:
        """The first database member of a site."""
        return next((member for member in self.members if member.site == site), None)

    def cluster(self, site: str) -> ClusterView | None:
        """The view of one site's cluster."""
        return next((view for view in self.clusters if view.site == site), None)

    def site(self, name: str) -> SiteView | None:
        """The view of one site."""
        return next((view for view in self.sites if view.site == name), None)


class Watch(Protocol):
    """Eyes that are open all the time, to notice what happens and when. Not for deciding what is done to data: that
    takes a look that began after the question, `Observer.snapshot`."""

    def latest(self) -> Observed:
        """What was seen last, at once; each part of it at most a few seconds old. Never raises because a host does not
        answer."""


class Observer(Protocol):
    """The only eyes of failover."""

    def snapshot(self) -> Observed:
        """Looks once, at everything in parallel, within a few seconds even when sites are dark. Never raises because a
        host does not answer."""

    def watch(self) -> AbstractContextManager[Watch]:
        """Within it everything is looked at again and again; after it, however it ends, nothing is left running."""
