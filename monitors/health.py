"""The one judgement of the running estate: what is wrong in an observation, worst first. Pure.

`status` reports the problems, and drills and upgrades refuse to start while there are any in their scope. Each problem
is reported once, at its cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Literal

from estate.model import Estate, HostRole
from monitors.observe.model import Announcement, Cluster, DatabaseMember, HealthCheck, Observation, Role, Workload
from monitors.observe.queries import queried_hosts

Language = Literal["zh", "en"]

LAG_LIMIT_BYTES = 16 * 1024 * 1024
"""One WAL segment: a standby further behind is not keeping up. Drills and the alert DatabaseLagging have the
same limit. A planned move has a stricter limit of its own, see `failover.plans`."""
CLOCK_LIMIT_S = 2.0
"""Greater than the error of measuring it over ssh on a busy machine."""
SEPARATOR = " · "
"""Between the parts of a problem's subject, such as a service and its site."""


class Severity(IntEnum):
    """How much a problem matters to the users of the services."""

    CRITICAL = 1
    """Users notice, or acknowledged data is in danger."""
    WARNING = 2
    """Users do not notice yet; the next loss would hurt."""


class Scope(StrEnum):
    """The question that a judgement answers."""

    STATUS = "status"
    """Is all well? `status` ends with exit code 1 otherwise."""
    DRILL = "drill"
    """May a drill start, and has the estate recovered after it? A drill waits 10 minutes for the recovery."""
    UPGRADE = "upgrade"
    """May the next site be upgraded? Everything that `status` reports, and rollouts that have not finished."""


EVERYWHERE = frozenset(Scope)


@dataclass(frozen=True, kw_only=True)
class Code:
    """A kind of problem: its severity, its scopes, and its message in both languages."""

    severity: Severity
    zh: str
    en: str
    scopes: frozenset[Scope] = EVERYWHERE


def _critical(zh: str, en: str) -> Code:
    return Code(severity=Severity.CRITICAL, zh=zh, en=en)


def _warning(zh: str, en: str, scopes: frozenset[Scope] = EVERYWHERE) -> Code:
    return Code(severity=Severity.WARNING, zh=zh, en=en, scopes=scopes)


CODES: Mapping[str, Code] = MappingProxyType({
    # Database. A drill with any of these would lose more than the site that it powers off, and after a drill Patroni
    # repairs them within seconds, or minutes where a member takes a base backup.
    "two_primaries": _critical("自称主库的成员不止一个", "more than one member says that it is primary"),
    "no_primary": _critical("没有主库，无法写入", "no primary: nothing can be written"),
    "primary_misplaced": _critical(
        "已成为主库，而它须经人工确认才可升为主库", "is primary, and only a person may promote it",
    ),
    "no_second_copy": _critical(
        "没有备库确认提交，写入处于等待状态", "no standby in another site acknowledges: writes wait",
    ),
    "member_down": _warning("数据库成员未运行", "database member does not run"),
    "patroni_down": _warning("Patroni 无应答", "Patroni does not answer"),
    "not_streaming": _warning("流复制已中断", "does not stream from the primary"),
    "other_timeline": _warning("与主库时间线不同", "is on another timeline than the primary"),
    "lagging": _warning("落后于主库", "is behind the primary"),
    # While one standby is not counted, the loss of the other one stops all writes.
    "not_counted": _warning("主库未将其计入同步确认", "is not a synchronous standby of the primary"),
    # A drill would wait in vain for the promotion.
    "paused": _warning("自动故障转移已暂停", "automatic failover is paused"),
    # etcd. Without a leader or a majority Patroni promotes no member.
    "votes_below_majority": _critical("应答的仲裁票不足多数", "fewer votes answer than a majority"),
    "no_leader": _critical("etcd 没有领导者", "etcd has no leader"),
    "vote_down": _warning("仲裁票无应答", "etcd vote does not answer"),
    # Not in drills: the witness takes leadership back at most 3 times in 15 minutes (`etcd_prefer.py`). After
    # several drills the leader therefore stays at a city site for longer than a drill waits. It costs an election, no
    # data.
    "leader_in_city": _warning(
        "etcd 领导者在同城中心，该中心失效时将多一次选举", "etcd's leader is at a city site",
        scopes=frozenset({Scope.STATUS, Scope.UPGRADE}),
    ),
    # Services, as users see them and as each site reports itself.
    "service_unreachable": _critical("对用户无应答", "does not answer its users"),
    "writes_refused": _critical("用户无法提交", "refuses applications"),
    "announced_nowhere": _critical("没有中心宣告其地址", "no site announces its address"),
    "site_not_ready": _warning("未就绪", "is not ready"),
    "not_announced": _warning("未宣告服务地址", "does not announce the service's address"),
    "last_resort": _warning("仅作兜底宣告", "announces only as a last resort"),
    # Network. Without BFD a drill would measure the BGP hold time in place of the detection.
    "session_down": _warning("BGP 会话未建立", "BGP session is not established"),
    "bfd_down": _warning("BFD 未建立，线路中断时发现较慢", "BFD is not up: a cut is noticed late"),
    # Clusters. An API server that restarts and pods that start are back in less than two minutes.
    "cluster_down": _warning("Kubernetes API 无应答", "its Kubernetes API does not answer"),
    "node_not_ready": _warning("有节点未就绪", "has nodes that are not ready"),
    "pods_missing": _warning("就绪的 Pod 少于所需", "has fewer ready pods than it wants"),
    # Only in upgrades: pods of the old version serve as well, so users and drills are not concerned. A site whose pods
    # are still being replaced is not finished.
    "rollout_unfinished": _warning(
        "新版本的 Pod 尚未全部就绪", "its newest pods are not all ready", scopes=frozenset({Scope.UPGRADE}),
    ),
    # Hosts. After a power loss units start again with empty failure counters. A unit that failed on a host which kept
    # its power stays failed until an operator acts, so waiting for it would not help; a drill reports it.
    "host_unreachable": _warning("经管理网络无法连接", "is not reached over the management network"),
    "unit_failed": _warning("systemd 单元失败", "unit has failed"),
    # A drill compares the clocks of the vantage and the operator to date what it measures.
    "clock_off": _warning("时钟偏差", "clock is off"),
    # An observation of a part of the estate must not pass for one of all of it.
    "not_observed": _warning("不在本次观测之内", "is not in the observation"),
})  # fmt: skip
"""Every kind of problem. WAL that is kept for a person (`DatabaseMember.kept_forks`) is not a problem: by design it
stays for days, so `status` shows it as a note."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong. `subject` is a host, a site, a service, a link or a vantage, or several of them joined
    with `SEPARATOR`."""

    code: str
    subject: str
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return CODES[self.code].severity

    def text(self, lang: Language = "en", titles: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return one line for a person. `titles` are what people call the sites, by name."""
        subject = SEPARATOR.join(titles.get(part, part) for part in self.subject.split(SEPARATOR))
        message = CODES[self.code].zh if lang == "zh" else CODES[self.code].en
        return f"{subject}: {message}" + (f" ({self.detail})" if self.detail else "")

    def __str__(self) -> str:
        return self.text()


def problems(
    estate: Estate,
    observed: Observation,
    scope: Scope = Scope.STATUS,
    *,
    powered_off: frozenset[str] = frozenset(),
) -> tuple[Problem, ...]:
    """Return all problems of the scope, worst first; empty when all is well.

    Sites in `powered_off` are expected to be unreachable: their hosts are not reported.
    """
    found = [
        *_database(estate, observed),
        *_votes(estate, observed),
        *_services(observed),
        *_announcements(estate, observed),
        *_clusters(estate, observed),
        *_hosts(estate, observed, powered_off),
        *_sessions(observed),
    ]
    chosen = (problem for problem in found if scope in CODES[problem.code].scopes)
    return tuple(sorted(chosen, key=lambda problem: problem.severity))


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
    if primary_seen and not any(m.sync and m.site != primary_seen.site for m in observed.members):
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


def _services(observed: Observation) -> Iterator[Problem]:
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


def _clusters(estate: Estate, observed: Observation) -> Iterator[Problem]:
    """Report an unreachable API server once: its pods keep running, and its nodes and pods are unknown, not missing."""
    for cluster in observed.clusters:
        if not _reached(observed, cluster.host):
            continue
        if not cluster.answers:
            yield Problem(code="cluster_down", subject=cluster.site, detail=cluster.reason)
            continue
        yield from _nodes(estate, cluster)
        for workload in cluster.workloads:
            yield from _pods(workload, f"{workload.service}{SEPARATOR}{cluster.site}")


def _nodes(estate: Estate, cluster: Cluster) -> Iterator[Problem]:
    """Compare the nodes with the estate's: a declared node that never joined is as bad as one that is not ready."""
    ready = {node.host for node in cluster.node_list if node.ready}
    known = {host.name for host in estate.nodes_at(cluster.site)} | {node.host for node in cluster.node_list}
    if missing := sorted(known - ready):
        detail = f"{len(ready)}/{len(known)}: {', '.join(missing)}"
        yield Problem(code="node_not_ready", subject=cluster.site, detail=detail)


def _pods(workload: Workload, subject: str) -> Iterator[Problem]:
    """Compare the pods with the estate's number: a Deployment that a person has scaled down is not complete."""
    if workload.wanted is None:
        absent = f"no Deployment {workload.namespace}/{workload.service}; `./govcloud up platform` creates it"
        yield Problem(code="pods_missing", subject=subject, detail=workload.reason or absent)
    elif workload.ready < (needed := max(workload.wanted, workload.declared)):
        yield Problem(code="pods_missing", subject=subject, detail=f"{workload.ready}/{needed}")
    elif workload.updated < workload.declared:
        yield Problem(code="rollout_unfinished", subject=subject, detail=f"{workload.updated}/{workload.declared}")


def _announcements(estate: Estate, observed: Observation) -> Iterator[Problem]:
    """A site that is not ready must not announce, so it is reported as not ready only.

    An edge that was reached and did not list its routes is reported too: what it announces is unknown.
    """
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
            if one.state is Announcement.UNKNOWN and _edge_reached(estate, observed, one.site):
                yield Problem(code="not_announced", subject=where, detail="its edge did not list its routes")
            if one.state is Announcement.LAST_RESORT:
                yield Problem(code="last_resort", subject=where)


def _edge_reached(estate: Estate, observed: Observation, site: str) -> bool:
    return any(_reached(observed, edge.name) for edge in estate.hosts_at(site, HostRole.EDGE))


def _hosts(estate: Estate, observed: Observation, powered_off: frozenset[str]) -> Iterator[Problem]:
    for seen in observed.hosts:
        if not seen.reachable and seen.place not in powered_off:
            yield Problem(code="host_unreachable", subject=seen.host, detail=seen.reason)
        for unit in seen.failed_units:
            yield Problem(code="unit_failed", subject=seen.host, detail=unit)
        if seen.clock_offset_s is not None and abs(seen.clock_offset_s) > CLOCK_LIMIT_S:
            yield Problem(code="clock_off", subject=seen.host, detail=f"{seen.clock_offset_s:+.1f} s")
    known = {seen.host for seen in observed.hosts}
    for host in queried_hosts(estate):
        if host.name not in known and host.at not in powered_off:
            yield Problem(code="not_observed", subject=host.name)


def _sessions(observed: Observation) -> Iterator[Problem]:
    """Report a link between two of our edges once, from the first side. Skip links of an unreachable edge: the host
    itself is reported."""
    reported: set[tuple[str, int]] = set()
    unreachable = {seen.host for seen in observed.hosts if not seen.reachable}
    for session in observed.sessions:
        if (session.link, session.family) in reported or {session.router, session.neighbour} & unreachable:
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
    """An unreachable host is reported as such, and not again for every daemon on it."""
    return any(seen.reachable for seen in observed.hosts if seen.host == host)


def sites_up(estate: Estate, observed: Observation) -> dict[str, tuple[int, int]]:
    """Return the number of hosts reached and of all hosts, by site."""
    counted = {site.name: (0, 0) for site in estate.sites}
    for seen in observed.hosts:
        if seen.place in counted:
            up, of = counted[seen.place]
            counted[seen.place] = (up + seen.reachable, of + 1)
    return counted
