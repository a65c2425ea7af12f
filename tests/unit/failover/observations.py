"""Observations of the estate for tests of decisions, in the monitors' own model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from monitors.collectors import Observation
from monitors.collectors.announcements import Announcement
from monitors.collectors.kubernetes import Cluster, ClusterNode
from monitors.collectors.postgres import Role
from tests.unit.monitors.observations import ESTATE, healthy, observe

__all__ = [
    "ESTATE",
    "HEALTHY",
    "cluster",
    "powered_off",
    "with_check",
    "with_cluster",
    "with_link",
    "with_member",
    "with_primary",
]


def with_member(seen: Observation, at: str, **changes: Any) -> Observation:
    """Change the database member of a site."""
    return replace(seen, members=tuple(replace(m, **changes) if m.site == at else m for m in seen.members))


def with_primary(seen: Observation, at: str, **changes: Any) -> Observation:
    """Make the member of a site the primary, and every other running member a standby that it counts."""
    for member in seen.members:
        if member.site != at and member.running:
            seen = with_member(seen, member.site, role=Role.STANDBY, sync=True)
    return with_member(seen, at, role=Role.PRIMARY, sync=False, **changes)


def with_check(seen: Observation, at: str, path: str, status: int | None) -> Observation:
    """Change the answer of a site's service on a health path."""
    checks = (replace(c, status=status) if (c.place, c.path) == (at, path) else c for c in seen.sites)
    return replace(seen, sites=tuple(checks))


def with_link(seen: Observation, link: str, **changes: Any) -> Observation:
    """Change the BGP sessions over a link."""
    return replace(seen, sessions=tuple(replace(s, **changes) if s.link == link else s for s in seen.sessions))


def with_cluster(seen: Observation, changed: Cluster) -> Observation:
    """Replace the cluster of a site."""
    return replace(seen, clusters=tuple(changed if c.site == changed.site else c for c in seen.clusters))


def cluster(site: str, version: str, **changes: Any) -> Cluster:
    """Return the healthy cluster of a site, at a version. `pods_ready` is the number of its ready pods."""
    healthy_one = HEALTHY.cluster_at(site)
    assert healthy_one
    workloads = healthy_one.workloads
    if (ready := changes.pop("pods_ready", None)) is not None:
        workloads = tuple(replace(each, ready=ready, updated=ready) for each in workloads)
    values = {
        "version": version,
        "node_list": (ClusterNode(host=f"{site}-kube1", ready=True, version=version),),
        "workloads": workloads,
        "incomplete_tenants": (),
    }
    return replace(healthy_one, **{**values, **changes})


def powered_off(seen: Observation, at: str) -> Observation:
    """No host of the site answers, and no session with it is established."""
    gone = {host.name for host in ESTATE.hosts_at(at)}
    return replace(
        with_member(
            seen, at, role=Role.UNKNOWN, running=False, patroni=False, sync=False, lag_bytes=None, position=None
        ),
        hosts=tuple(replace(h, reachable=False, reason="no answer") if h.place == at else h for h in seen.hosts),
        sessions=tuple(
            replace(s, established=False, bfd_up=None, state="Connect") if {s.router, s.neighbour} & gone else s
            for s in seen.sessions
        ),
        announced=tuple(replace(a, state=Announcement.UNKNOWN) if a.site == at else a for a in seen.announced),
        votes=tuple(replace(v, healthy=False, leader=False) if v.site == at else v for v in seen.votes),
        sites=tuple(replace(c, status=None, reason="no answer") if c.place == at else c for c in seen.sites),
        clusters=tuple(Cluster(site=at, host=c.host, answers=False) if c.site == at else c for c in seen.clusters),
    )


def _healthy() -> Observation:
    seen = observe(healthy())
    for site in ESTATE.sites:
        seen = with_member(seen, site.name, position=1000, lag_bytes=0)
    return seen


HEALTHY = _healthy()
"""All is well; every member is at position 1000, on timeline 3."""
