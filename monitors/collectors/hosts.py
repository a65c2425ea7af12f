"""Hosts: whether the operator reaches them, their failed systemd units, and their clocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Host
from monitors.collector import Collector, Column, Context
from monitors.problem import Problem, warning
from monitors.query import Queries, Replies, Reply, Target, command, queried_hosts

CLOCK_LIMIT_S = 2.0
"""Greater than the error of measuring it over ssh on a busy machine."""

# After a power loss units start again with empty failure counters. A unit that failed on a host which kept its power
# stays failed until an operator acts, so waiting for it would not help; a drill reports it.
HOST_UNREACHABLE = warning("host_unreachable", "经管理网络无法连接", "is not reached over the management network")
UNIT_FAILED = warning("unit_failed", "systemd 单元失败", "unit has failed")
# A drill compares the clocks of the vantage and the operator to date what it measures.
CLOCK_OFF = warning("clock_off", "时钟偏差", "clock is off")
# Without this problem, an observation of some hosts would look like an observation of all hosts.
NOT_OBSERVED = warning("not_observed", "不在本次观测之内", "is not in the observation")


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
class Hosts:
    """All hosts that were asked."""

    hosts: tuple[HostObservation, ...]

    def host(self, name: str) -> HostObservation:
        """Return the host of that name. Raises KeyError if it was not queried."""
        for seen in self.hosts:
            if seen.host == name:
                return seen
        raise KeyError(name)

    def hosts_up(self, site: str) -> tuple[int, int]:
        """Return the number of the site's hosts that were reached, and of all that were queried."""
        reachable = [host.reachable for host in self.hosts if host.place == site]
        return sum(reachable), len(reachable)

    def site_reachable(self, site: str) -> bool:
        """Return whether every host of the site was reached."""
        return all(host.reachable for host in self.hosts if host.place == site)


def _queries(_: Target) -> Queries:
    return {
        "failed": command("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"),
        "uptime": {"kind": "text", "path": "/proc/uptime"},
    }


def _parse(replies: Replies) -> Hosts:
    return Hosts(hosts=tuple(_host(host, reply) for host, reply in replies.pairs))


def _host(host: Host, reply: Reply) -> HostObservation:
    failed = str(reply.results.get("failed", {}).get("out", ""))
    uptime = str(reply.results.get("uptime", {}).get("text", "")).split()
    return HostObservation(
        host=host.name,
        place=host.at,
        reachable=reply.reachable,
        reason=reply.reason,
        failed_units=tuple(line.split()[0] for line in failed.splitlines() if line.strip()),
        uptime_s=float(uptime[0]) if uptime else None,
        clock_offset_s=None if reply.now is None else reply.now - (reply.asked_at + reply.took_s),
    )


def _judge(context: Context, seen: Hosts) -> Iterator[Problem]:
    for one in seen.hosts:
        if not one.reachable:
            yield HOST_UNREACHABLE.at(one.host, one.reason)
        for unit in one.failed_units:
            yield UNIT_FAILED.at(one.host, unit)
        if one.clock_offset_s is not None and abs(one.clock_offset_s) > CLOCK_LIMIT_S:
            yield CLOCK_OFF.at(one.host, f"{one.clock_offset_s:+.1f} s")
    known = {one.host for one in seen.hosts}
    for host in queried_hosts(context.estate):
        if host.name not in known:
            yield NOT_OBSERVED.at(host.name)


COLLECTOR = Collector[Hosts](
    rank=6,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    columns=(Column(zh="主机", en="hosts", cell=lambda seen, site, _: "{}/{}".format(*seen.hosts_up(site))),),
)
