"""The registry: everything that is observed of the running estate, and the observation that results.

A new collector is a module here, an entry in `COLLECTORS`, and a base of `Observation`.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitors.collector import Collector
from monitors.collectors import announcements, bgp, etcd, hosts, kubernetes, postgres, service


@dataclass(frozen=True, kw_only=True)
class _Moment:
    at: float
    """Seconds since 1970 when the observation began."""
    took_s: float


@dataclass(frozen=True, kw_only=True)
class Observation(
    kubernetes.Clusters,
    service.Services,
    etcd.Votes,
    postgres.Database,
    announcements.Announcements,
    bgp.Sessions,
    hosts.Hosts,
    _Moment,
):
    """The whole running estate at one time: the one model that status, drills, moves and upgrades decide on.

    A host or daemon that did not answer is a value too, with the reason. The fields, and the keys of `status --json`,
    are in the order of the bases from the last to the first.
    """


COLLECTORS: tuple[Collector[Observation], ...] = (
    hosts.COLLECTOR,
    bgp.COLLECTOR,
    postgres.COLLECTOR,
    etcd.COLLECTOR,
    kubernetes.COLLECTOR,
    service.COLLECTOR,
    announcements.COLLECTOR,
)
"""In the order of the status screen."""
