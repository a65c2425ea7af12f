"""From the hosts' replies to one observation. Pure.

A malformed answer counts as no answer, with the reason. Observations matter most when something is broken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from monitors.observe.model import (
    Announced,
    Announcement,
    BgpSession,
    Cluster,
    ClusterNode,
    DatabaseMember,
    EtcdMember,
    HealthCheck,
    HostObservation,
    Observation,
    Role,
    TenantDeployment,
    Workload,
)
from monitors.observe.queries import TENANTS, declared_deployments

ANNOUNCED_METRIC = 100
"""The announcer's routes have at most this metric while the site is healthy. A greater one is the last resort."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The reply of one host. Times in seconds; `now` is its clock, `asked_at` and `took_s` are ours."""

    host: str
    reachable: bool
    reason: str = ""
    now: float | None = None
    asked_at: float = 0.0
    took_s: float = 0.0
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def document(self, name: str) -> Any:
        """Return the JSON document of a command or an HTTPS answer, None if there is no such document."""
        result = self.results.get(name, {})
        if result.get("code", 0) != 0:
            return None
        try:
            return json.loads(result.get("out", result.get("body", "")))
        except ValueError:
            return None

    def why(self, name: str) -> str:
        """Return why `document` found nothing, in one line."""
        result = self.results.get(name, {})
        why = self.reason or str(result.get("error") or result.get("err") or f"status {result.get('status')}")
        return (why.strip().splitlines() or ["no answer"])[0].split(" failed: ")[-1]


def observation_of(
    estate: Estate, plan: AddressPlan, replies: Mapping[str, Reply], *, at: float, took_s: float
) -> Observation:
    """Return one observation of the hosts in `replies`; hosts that were not asked are not in it."""
    hosts = [host for host in estate.hosts if host.name in replies]
    pairs = [(host, replies[host.name]) for host in hosts]
    members = _compared([_member(host, reply) for host, reply in pairs if host.database], _standbys(pairs))
    edges = [(host, reply) for host, reply in pairs if host.kind is HostRole.EDGE]
    return Observation(
        at=at,
        took_s=took_s,
        hosts=tuple(_host(host, reply) for host, reply in pairs),
        sessions=tuple(s for host, reply in edges for s in _sessions(estate, plan, host, reply)),
        announced=tuple(a for host, reply in edges for a in _announced(estate, plan, host, reply)),
        members=members,
        synchronous_standby_names=_sync_names(pairs),
        paused=_paused(pairs),
        votes=tuple(_vote(host, reply) for host, reply in pairs if host.etcd_votes),
        sites=tuple(h for host, reply in pairs if host.kind is HostRole.KUBE for h in _health(estate, host, reply)),
        vantages=tuple(
            h for host, reply in pairs if host.kind is HostRole.VANTAGE for h in _health(estate, host, reply)
        ),
        clusters=tuple(_cluster(estate, host, reply) for host, reply in pairs if host in estate.nodes_at(host.at)[:1]),
    )


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


def _sessions(estate: Estate, plan: AddressPlan, host: Host, reply: Reply) -> Iterator[BgpSession]:
    """Yield every session that the estate declares, whether the router reports it or not."""
    summaries = {4: _mapping(reply.document("bgp4")), 6: _mapping(reply.document("bgp6"))}
    bfd = {_address(p.get("peer", "")): p.get("status") for p in _list(reply.document("bfd"))}
    for link in estate.links_of(host.name):
        far = next(end for end in link.ends if end != host.name)
        interface = plan.hosts[far].link(link.name)
        for family, address in ((4, interface.ipv4.ip), (6, interface.ipv6.ip)):
            peers = {_address(name): peer for name, peer in _mapping(summaries[family].get("peers")).items()}
            peer = _mapping(peers.get(str(address)))
            state = str(peer.get("state") or ("not configured" if reply.reachable else "unreachable"))
            known = bfd.get(str(address))
            yield BgpSession(
                router=host.name,
                site=host.at,
                link=link.name,
                neighbour=far,
                family=family,
                established=state == "Established",
                state=state,
                bfd_up=None if known is None else known == "up",
                prefixes=int(peer.get("pfxRcd") or 0),
            )


def _announced(estate: Estate, plan: AddressPlan, host: Host, reply: Reply) -> Iterator[Announced]:
    routes = {
        str(route.get("dst", "")).split("/")[0]: int(route.get("metric", 0))
        for name in ("routes4", "routes6")
        for route in _list(reply.document(name))
    }
    listed = reply.document("routes4") is not None or reply.document("routes6") is not None
    for service in estate.services:
        if host.at not in service.placement.sites:
            continue
        addresses = plan.anycast[service.name]
        for family, address in ((4, str(addresses.ipv4)), (6, str(addresses.ipv6))):
            metric = routes.get(address)
            if metric is None:
                state = Announcement.WITHDRAWN if listed else Announcement.UNKNOWN
            else:
                state = Announcement.ANNOUNCED if metric <= ANNOUNCED_METRIC else Announcement.LAST_RESORT
            yield Announced(site=host.at, service=service.name, family=family, state=state)


def _member(host: Host, reply: Reply) -> DatabaseMember:
    said = reply.document("postgresql")
    patroni = reply.document("patroni")
    has_patroni = isinstance(patroni, dict)
    state = str(patroni.get("state", "")) if has_patroni else ""
    forks = len(str(reply.results.get("forks", {}).get("out", "")).split())
    if not isinstance(said, dict):
        return DatabaseMember(
            host=host.name, site=host.at, role=Role.UNKNOWN, running=False, patroni=has_patroni, state=state,
            kept_forks=forks, reason=reply.why("postgresql"),
        )  # fmt: skip
    standby, receiver = bool(said["in_recovery"]), _mapping(said.get("receiver"))
    return DatabaseMember(
        host=host.name,
        site=host.at,
        role=Role.STANDBY if standby else Role.PRIMARY,
        running=not standby or receiver.get("status") == "streaming",
        patroni=has_patroni,
        state=str(receiver.get("status") or "not streaming") if standby else state or "running",
        timeline=said.get("timeline"),
        position=_whole(said.get("position")),
        replayed=_whole(said.get("replayed")),
        sender=receiver.get("sender"),
        kept_forks=forks,
        reason="" if has_patroni else f"Patroni: {reply.why('patroni')}",
    )


def _compared(members: list[DatabaseMember], standbys: Mapping[str, str]) -> tuple[DatabaseMember, ...]:
    """Return the members with their distance from the primary, and whether the primary counts them."""
    primaries = [member for member in members if member.role is Role.PRIMARY and member.running]
    head = primaries[0].position if len(primaries) == 1 else None
    return tuple(
        replace(
            member,
            lag_bytes=None if head is None or member.position is None else max(0, head - member.position),
            sync=member.role is Role.STANDBY and standbys.get(member.host) in ("sync", "quorum"),
        )
        for member in members
    )


def _standbys(pairs: list[tuple[Host, Reply]]) -> dict[str, str]:
    """Return how the primary counts each standby (`sync_state`), by the standby's name."""
    said = _primary_answer(pairs)
    return {str(s.get("name")): str(s.get("sync")) for s in _list(said.get("standbys"))} if said else {}


def _sync_names(pairs: list[tuple[Host, Reply]]) -> str | None:
    said = _primary_answer(pairs)
    return str(said["synchronous_standby_names"]) if said and "synchronous_standby_names" in said else None


def _primary_answer(pairs: list[tuple[Host, Reply]]) -> dict[str, Any] | None:
    answers = [_mapping(reply.document("postgresql")) for host, reply in pairs if host.database]
    found = [said for said in answers if said and not said.get("in_recovery")]
    return found[0] if len(found) == 1 else None


def _paused(pairs: list[tuple[Host, Reply]]) -> bool | None:
    for host, reply in pairs:
        cluster = reply.document("cluster") if host.database else None
        if isinstance(cluster, dict):
            return bool(cluster.get("pause", False))
    return None


def _vote(host: Host, reply: Reply) -> EtcdMember:
    health, status = _mapping(reply.document("etcd_health")), _mapping(reply.document("etcd_status"))
    header = _mapping(status.get("header"))
    own, leader = str(header.get("member_id", "")), str(status.get("leader", ""))
    healthy = str(health.get("health")) == "true"
    return EtcdMember(
        host=host.name,
        site=host.at,
        healthy=healthy,
        leader=bool(own) and own == leader,
        term=_whole(status.get("raftTerm")),
        reason="" if healthy else str(health.get("reason") or reply.why("etcd_health")),
    )


def _cluster(estate: Estate, host: Host, reply: Reply) -> Cluster:
    listed = reply.document("nodes")
    if not isinstance(listed, dict) or listed.get("kind") != "NodeList":
        return Cluster(site=host.at, host=host.name, answers=False, reason=reply.why("nodes"))
    nodes = tuple(_node(item) for item in _list(listed.get("items")))
    own = declared_deployments(estate, host.at)
    return Cluster(
        site=host.at,
        host=host.name,
        answers=True,
        version=_version(_mapping(reply.document("version")).get("gitVersion")),
        nodes_ready=sum(node.ready for node in nodes),
        nodes=len(nodes),
        node_list=nodes,
        workloads=tuple(_workload(reply, namespace, name, declared) for (namespace, name), declared in own.items()),
        incomplete_tenants=_tenants(reply.document(TENANTS), own),
    )


def _node(item: Mapping[str, Any]) -> ClusterNode:
    status = _mapping(item.get("status"))
    return ClusterNode(
        host=str(_mapping(item.get("metadata")).get("name", "")),
        ready=any(
            one.get("type") == "Ready" and one.get("status") == "True" for one in _list(status.get("conditions"))
        ),
        version=_version(_mapping(status.get("nodeInfo")).get("kubeletVersion")),
    )


def _version(text: Any) -> str:
    return str(text or "").removeprefix("v")


def _workload(reply: Reply, namespace: str, name: str, declared: int) -> Workload:
    """Return a Deployment's pods. The answer is a `Status` without a `spec` if the cluster has no such Deployment."""
    answer = reply.document(f"pods {name}")
    deployment = _mapping(answer)
    return Workload(
        service=name,
        namespace=namespace,
        declared=declared,
        wanted=_replicas(deployment),
        ready=_whole(_mapping(deployment.get("status")).get("readyReplicas")) or 0,
        updated=_updated(deployment),
        reason="" if deployment else reply.why(f"pods {name}"),
    )


def _tenants(listed: Any, own: Mapping[tuple[str, str], int]) -> tuple[TenantDeployment, ...] | None:
    """Return the incomplete Deployments of a cluster that are not the estate's own, None if the list is unreadable."""
    if not isinstance(listed, dict) or listed.get("kind") != "DeploymentList":
        return None
    found = []
    for item in _list(listed.get("items")):
        metadata = _mapping(item.get("metadata"))
        place = str(metadata.get("namespace")), str(metadata.get("name"))
        ready, wanted = _updated(item), _replicas(item) or 0
        if place not in own and ready < wanted:
            found.append(TenantDeployment(namespace=place[0], name=place[1], ready=ready, wanted=wanted))
    return tuple(found)


def _replicas(deployment: Mapping[str, Any]) -> int | None:
    return _whole(_mapping(deployment.get("spec")).get("replicas"))


def _updated(deployment: Mapping[str, Any]) -> int:
    """Return the ready pods of the newest template, 0 while the controller has not read the newest template."""
    status, metadata = _mapping(deployment.get("status")), _mapping(deployment.get("metadata"))
    if status.get("observedGeneration") != metadata.get("generation"):
        return 0
    return min(_whole(status.get("readyReplicas")) or 0, _whole(status.get("updatedReplicas")) or 0)


def _health(estate: Estate, host: Host, reply: Reply) -> Iterator[HealthCheck]:
    for name, result in reply.results.items():
        if not name.startswith("health "):
            continue
        _, service, family, path = name.split(" ")
        yield HealthCheck(
            service=service,
            asked_from=host.name,
            place=host.at,
            path=path,
            family=int(family),
            status=result.get("status"),
            site=_mapping(result.get("headers")).get("x-govcloud-site"),
            seconds=result.get("seconds"),
            reason=str(result.get("error", "")),
        )
    if not reply.reachable and host.kind is HostRole.KUBE:
        for placed in estate.services:
            if host.at in placed.placement.sites:
                for path in ("healthz", "readyz", "writez"):
                    yield HealthCheck(
                        service=placed.name, asked_from=host.name, place=host.at, path=path, family=4, status=None,
                        reason=reply.reason,
                    )  # fmt: skip


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
