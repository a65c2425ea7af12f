"""Is everything well? A pure judgement of one observation: what is wrong, worst first, each told once at its cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from estate.model import Estate
from monitors.observe.model import Announcement, DatabaseMember, HealthCheck, Observation, Role

Language = Literal["zh", "en"]

LAG_LIMIT_BYTES = 16 * 1024 * 1024
"""One WAL segment: a standby further behind is not keeping up. The alert DatabaseLagging has the same limit."""
CLOCK_LIMIT_S = 2.0
"""Beyond the error of measuring it over ssh on a busy machine."""


class Severity(IntEnum):
    """How much it matters to the users of the services."""

    CRITICAL = 1
    """Users notice, or acknowledged data is in danger."""
    WARNING = 2
    """Nobody notices yet; the next loss would hurt."""


MESSAGES: dict[str, tuple[Severity, str, str]] = {
    "two_primaries": (Severity.CRITICAL, "自称主库的成员不止一个", "more than one member says that it is primary"),
    "no_primary": (Severity.CRITICAL, "没有主库，无法写入", "no primary: nothing can be written"),
    "primary_misplaced": (
        Severity.CRITICAL, "已成为主库，而它须经人工确认才可升为主库",
        "is primary and may be so only by a person's word",
    ),
    "no_second_copy": (
        Severity.CRITICAL, "没有备库确认提交，写入处于等待状态", "no standby acknowledges: writes wait",
    ),
    "votes_below_majority": (Severity.CRITICAL, "应答的仲裁票不足多数", "fewer votes answer than a majority"),
    "service_unreachable": (Severity.CRITICAL, "对用户无应答", "does not answer its users"),
    "writes_refused": (Severity.CRITICAL, "用户无法提交", "takes no applications"),
    "announced_nowhere": (Severity.CRITICAL, "没有中心宣告其地址", "no site announces its address"),
    "host_unreachable": (Severity.WARNING, "经管理网络无法连接", "is not reached over the management network"),
    "site_not_ready": (Severity.WARNING, "未就绪", "is not ready"),
    "not_announced": (Severity.WARNING, "未宣告服务地址", "does not announce the service's address"),
    "last_resort": (Severity.WARNING, "仅作兜底宣告", "announces only as a last resort"),
    "session_down": (Severity.WARNING, "BGP 会话未建立", "BGP session is not established"),
    "bfd_down": (Severity.WARNING, "BFD 未建立，线路中断时发现较慢", "BFD is not up: a cut is noticed late"),
    "member_down": (Severity.WARNING, "数据库成员未运行", "database member does not run"),
    "patroni_down": (Severity.WARNING, "Patroni 无应答", "Patroni does not answer"),
    "not_streaming": (Severity.WARNING, "流复制已中断", "does not stream from the primary"),
    "other_timeline": (Severity.WARNING, "与主库时间线不同", "is on another timeline than the primary"),
    "lagging": (Severity.WARNING, "落后于主库", "is behind the primary"),
    "not_counted": (Severity.WARNING, "主库未将其计入同步确认", "its acknowledgements are not counted by the primary"),
    "paused": (Severity.WARNING, "自动故障转移已暂停", "automatic failover is paused"),
    "vote_down": (Severity.WARNING, "仲裁票无应答", "etcd vote does not answer"),
    "no_leader": (Severity.CRITICAL, "etcd 没有领导者", "etcd has no leader"),
    "leader_in_city": (
        Severity.WARNING, "etcd 领导者在同城中心，该中心失效时将多一次选举", "etcd's leader is in a city",
    ),
    "cluster_down": (Severity.WARNING, "Kubernetes API 无应答", "its Kubernetes API does not answer"),
    "node_not_ready": (Severity.WARNING, "有节点未就绪", "has nodes that are not ready"),
    "pods_missing": (Severity.WARNING, "就绪的 Pod 少于所需", "has fewer ready pods than it wants"),
    "unit_failed": (Severity.WARNING, "systemd 单元失败", "unit has failed"),
    "clock_off": (Severity.WARNING, "时钟偏差", "clock is off"),
}  # fmt: skip
"""Each code with its severity and its words in zh and en."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is not as it should be. `subject` is a host, a site, a service, a link or a vantage."""

    code: str
    subject: str
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return MESSAGES[self.code][0]

    def text(self, lang: Language = "en") -> str:
        """One line for a person."""
        message = MESSAGES[self.code][1 if lang == "zh" else 2]
        return f"{self.subject}: {message}" + (f" ({self.detail})" if self.detail else "")


def problems(estate: Estate, observed: Observation) -> tuple[Problem, ...]:
    """Everything that is wrong, worst first; empty when all is well."""
    found = [
        *_database(estate, observed),
        *_votes(estate, observed),
        *_services(estate, observed),
        *_announcements(estate, observed),
        *_clusters(observed),
        *_hosts(observed),
        *_sessions(observed),
    ]
    return tuple(sorted(found, key=lambda problem: problem.severity))


def _database(estate: Estate, observed: Observation) -> Iterator[Problem]:
    scope, primaries = estate.database.scope, observed.primaries
    if not observed.members:
        return
    if len(primaries) > 1:
        yield Problem(code="two_primaries", subject=scope, detail=", ".join(m.host for m in primaries))
    if not primaries:
        yield Problem(code="no_primary", subject=scope)
    for primary in primaries:
        if primary.site not in estate.database.promotable:
            yield Problem(code="primary_misplaced", subject=primary.host)
    primary_seen = observed.primary
    if primary_seen and not any(member.sync for member in observed.members):
        yield Problem(code="no_second_copy", subject=primary_seen.host, detail=observed.synchronous_standby_names or "")
    for member in observed.members:
        if _reached(observed, member.host):
            yield from _member(member, primary_seen)
    if observed.paused:
        yield Problem(code="paused", subject=scope)


def _member(member: DatabaseMember, primary: DatabaseMember | None) -> Iterator[Problem]:
    if member.role is Role.UNKNOWN:
        yield Problem(code="member_down", subject=member.host, detail=member.reason)
        return
    if not member.patroni:
        yield Problem(code="patroni_down", subject=member.host, detail=member.reason)
    if member.role is Role.PRIMARY or primary is None:
        return
    if not member.running:
        yield Problem(code="not_streaming", subject=member.host, detail=member.state)
    elif member.timeline != primary.timeline:
        yield Problem(code="other_timeline", subject=member.host, detail=f"{member.timeline} ≠ {primary.timeline}")
    elif member.lag_bytes is None or member.lag_bytes > LAG_LIMIT_BYTES:
        yield Problem(code="lagging", subject=member.host, detail=f"{member.lag_bytes} bytes")
    elif not member.sync:
        yield Problem(code="not_counted", subject=member.host)


def _votes(estate: Estate, observed: Observation) -> Iterator[Problem]:
    if not observed.votes:
        return
    healthy = sum(vote.healthy for vote in observed.votes)
    if healthy * 2 <= len(estate.etcd_members):
        yield Problem(code="votes_below_majority", subject="etcd", detail=f"{healthy}/{len(estate.etcd_members)}")
    elif observed.leader is None:
        yield Problem(code="no_leader", subject="etcd")
    elif observed.leader.site in estate.database.promotable:
        yield Problem(code="leader_in_city", subject=observed.leader.host)
    for vote in observed.votes:
        if not vote.healthy and _reached(observed, vote.host):
            yield Problem(code="vote_down", subject=vote.host, detail=vote.reason)


def _services(estate: Estate, observed: Observation) -> Iterator[Problem]:
    unreached = {(h.service, h.asked_from, h.family) for h in observed.vantages if h.path == "healthz" and not h.ok}
    for health in observed.vantages:
        where = f"{health.service} · {health.asked_from} · IPv{health.family}"
        if health.path == "healthz" and not health.ok:
            yield Problem(code="service_unreachable", subject=where, detail=health.why)
        elif (
            health.path == "writez"
            and not health.ok
            and (health.service, health.asked_from, health.family) not in unreached
        ):
            yield Problem(code="writes_refused", subject=where, detail=health.why)
    for health in _not_ready(observed):
        if _reached(observed, health.asked_from):
            yield Problem(code="site_not_ready", subject=f"{health.service} · {health.place}", detail=health.why)


def _not_ready(observed: Observation) -> list[HealthCheck]:
    return [health for health in observed.sites if health.path == "readyz" and not health.ok]


def _clusters(observed: Observation) -> Iterator[Problem]:
    """What runs goes on without its API server; that is told as such, and not once more for what it did not say."""
    for cluster in observed.clusters:
        if not _reached(observed, cluster.host):
            continue
        if not cluster.answers:
            yield Problem(code="cluster_down", subject=cluster.site, detail=cluster.reason)
            continue
        if not cluster.nodes or cluster.nodes_ready < cluster.nodes:
            yield Problem(code="node_not_ready", subject=cluster.site, detail=f"{cluster.nodes_ready}/{cluster.nodes}")
        for workload in cluster.workloads:
            if workload.wanted is None or workload.ready < workload.wanted:
                yield Problem(
                    code="pods_missing",
                    subject=f"{workload.service} · {cluster.site}",
                    detail=f"{workload.ready}/{'–' if workload.wanted is None else workload.wanted}",
                )


def _announcements(estate: Estate, observed: Observation) -> Iterator[Problem]:
    """A site that is not ready rightly announces nothing, and is told as not ready only."""
    unready = {(health.service, health.place) for health in _not_ready(observed)}
    for service in estate.services:
        known = [a for a in observed.announced if a.service == service.name]
        for family in (4, 6):
            states = {a.site: a.state for a in known if a.family == family}
            if states and Announcement.ANNOUNCED not in states.values():
                yield Problem(code="announced_nowhere", subject=f"{service.name} · IPv{family}")
        for one in known:
            where = f"{service.name} · {one.site} · IPv{one.family}"
            if one.state is Announcement.WITHDRAWN and (one.service, one.site) not in unready:
                yield Problem(code="not_announced", subject=where)
            if one.state is Announcement.LAST_RESORT:
                yield Problem(code="last_resort", subject=where)


def _hosts(observed: Observation) -> Iterator[Problem]:
    for seen in observed.hosts:
        if not seen.reachable:
            yield Problem(code="host_unreachable", subject=seen.host, detail=seen.reason)
        for unit in seen.failed_units:
            yield Problem(code="unit_failed", subject=seen.host, detail=unit)
        if seen.clock_offset_s is not None and abs(seen.clock_offset_s) > CLOCK_LIMIT_S:
            yield Problem(code="clock_off", subject=seen.host, detail=f"{seen.clock_offset_s:+.1f} s")


def _sessions(observed: Observation) -> Iterator[Problem]:
    """A link between two of our edges is told once, from the first side; a dark neighbour is told as such."""
    reported: set[tuple[str, int]] = set()
    dark = {seen.host for seen in observed.hosts if not seen.reachable}
    for session in observed.sessions:
        if (session.link, session.family) in reported or {session.router, session.neighbour} & dark:
            continue
        where = f"{session.link} · {session.router} → {session.neighbour} · IPv{session.family}"
        if not session.established:
            yield Problem(code="session_down", subject=where, detail=session.state)
        elif session.bfd_up is False:
            yield Problem(code="bfd_down", subject=where)
        else:
            continue
        reported.add((session.link, session.family))


def _reached(observed: Observation, host: str) -> bool:
    """A host that was not reached is told as such, not once more for everything on it."""
    return observed.host(host).reachable


def sites_up(estate: Estate, observed: Observation) -> dict[str, tuple[int, int]]:
    """Hosts reached and hosts there are, by site."""
    counted = {site.name: (0, 0) for site in estate.sites}
    for seen in observed.hosts:
        if seen.place in counted:
            up, of = counted[seen.place]
            counted[seen.place] = (up + seen.reachable, of + 1)
    return counted
