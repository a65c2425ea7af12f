"""Replies of the hosts of a healthy estate. Each test changes the replies that it is about."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from estate.addressing import plan
from estate.loader import load
from estate.model import Host, HostRole
from monitors.collectors import Observation
from monitors.observe.queries import observation_of, queries_of
from monitors.query import Reply, Target

ESTATE = load()
PLAN = plan(ESTATE)
PRIMARY = "futian-data1"
LEADER = "shaoguan-data1"
VERSION = "1.37.2"
HEAD = 50_331_648
"""The primary's position in bytes."""

Replies = dict[str, Reply]


def out(value: object) -> dict[str, Any]:
    """A command that printed a JSON document."""
    return {"code": 0, "out": json.dumps(value), "err": ""}


def shown(*values: object) -> dict[str, Any]:
    """A command that printed several JSON documents, each from a line of its own."""
    return {"code": 0, "out": "".join(json.dumps(value, indent=1) + "\n" for value in values), "err": ""}


def body(value: object, status: int = 200, **headers: str) -> dict[str, Any]:
    """An HTTPS answer with a JSON document."""
    return {"status": status, "headers": headers, "body": json.dumps(value), "seconds": 0.012}


def target(host: Host, *, tenants: bool = False) -> Target:
    """Return a host of the estate as the one that is asked."""
    return Target(estate=ESTATE, plan=PLAN, host=host, tenants=tenants)


def healthy() -> Replies:
    """Return the healthy replies of all queried hosts."""
    own = {host.name for host in ESTATE.managed_hosts}
    hosts = [host for host in ESTATE.hosts if host.name in own or host.kind is HostRole.VANTAGE]
    return {host.name: reply(host) for host in hosts}


def reply(host: Host) -> Reply:
    """Return the reply of a healthy host with this role."""
    results: dict[str, Any] = {"failed": {"code": 0, "out": "", "err": ""}, "uptime": {"text": "3601.65 7100.10\n"}}
    if host.kind is HostRole.EDGE:
        results |= edge(host)
    if host.database:
        results |= database(host)
    if host.etcd_votes:
        results |= vote(host)
    if host in ESTATE.nodes_at(host.at)[:1]:
        results |= cluster(host.name)
    for name in queries_of(target(host)):
        if name.startswith("health "):
            results[name] = body({}, **{"x-govcloud-site": host.at if host.kind is HostRole.KUBE else "futian"})
    return Reply(host=host.name, reachable=True, now=1000.4, asked_at=1000.0, took_s=0.5, results=results)


def cluster(host: str, *, ready: int = 2, updated: int = 2, wanted: int = 2, node: str = "True") -> dict[str, Any]:
    """Return the cluster of one node, with a Deployment of two declared pods."""
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": node}]
    status = {"conditions": conditions, "nodeInfo": {"kubeletVersion": f"v{VERSION}"}}
    return {
        "version": body({"gitVersion": f"v{VERSION}"}),
        "nodes": body({"kind": "NodeList", "items": [{"metadata": {"name": host}, "status": status}]}),
        "pods approval": body(deployment("approval", wanted, ready=ready, updated=updated)),
    }


def deployment(
    name: str, wanted: int, *, ready: int = 0, updated: int = 0, generation: int = 3, namespace: str = "approval"
) -> dict[str, Any]:
    """Return a Deployment whose controller has read generation 3."""
    return {
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name, "generation": generation},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 3, "readyReplicas": ready, "updatedReplicas": updated},
    }


def edge(host: Host) -> dict[str, Any]:
    """Return an edge router on which all sessions are established and all anycast addresses are announced."""
    peers: dict[int, dict[str, Any]] = {4: {}, 6: {}}
    bfd = []
    for link in ESTATE.links_of(host.name):
        far = next(end for end in link.ends if end != host.name)
        interface = PLAN.hosts[far].link(link.name)
        for family, address in ((4, str(interface.ipv4.ip)), (6, str(interface.ipv6.ip))):
            peers[family][address] = {"state": "Established", "pfxRcd": 7}
            bfd.append({"peer": address, "status": "up"})
    anycast = PLAN.anycast["approval"]
    return {
        "frr": shown({"peers": peers[4]}, {"peers": peers[6]}, bfd),
        "routes4": out([{"dst": str(anycast.ipv4), "gateway": "10.64.1.11", "metric": 100}]),
        "routes6": out([{"dst": str(anycast.ipv6), "gateway": "fd64::11", "metric": 100}]),
    }


def database(host: Host, role: str | None = None, **changed: object) -> dict[str, Any]:
    """Return a database member: the primary in futian, or one of two standbys that are both synchronous."""
    standby = (role or ("primary" if host.name == PRIMARY else "standby")) == "standby"
    state: dict[str, Any] = {
        "in_recovery": standby,
        "position": HEAD - 4096 if standby else HEAD,
        "replayed": HEAD - 8192 if standby else None,
        "timeline": 3,
        "receiver": {"status": "streaming", "sender": "10.64.1.21"} if standby else None,
        "standbys": [] if standby else [
            {"name": m.name, "state": "streaming", "sync": "quorum"}
            for m in ESTATE.database_members if m.name != host.name
        ],
        "synchronous_standby_names": "" if standby else 'ANY 1 ("nanshan-data1","shaoguan-data1")',
    }  # fmt: skip
    return {
        "postgresql": out(state | changed),
        "patroni": body({"state": "running", "role": "replica" if standby else "primary"}),
        "cluster": body({"members": []}),
    }


def vote(host: Host) -> dict[str, Any]:
    """Return a healthy etcd vote. The member on the witness site is the leader."""
    own = "7" if host.name == LEADER else host.name
    return {
        "etcd_health": body({"health": "true", "reason": ""}),
        "etcd_status": body({"header": {"member_id": own}, "leader": "7", "raftTerm": "4"}),
    }


def with_results(replies: Replies, host: str, **results: Any) -> Replies:
    """Return the replies with changed results of one host."""
    changed = replace(replies[host], results={**replies[host].results, **results})
    return {**replies, host: changed}


def powered_off(replies: Replies, site: str) -> Replies:
    """Power off a site: its hosts are unreachable, and its neighbours' BGP sessions with it are down."""
    found = dict(replies)
    for edge_of in ESTATE.hosts_at(site, HostRole.EDGE):
        for link in ESTATE.links_of(edge_of.name):
            far = next(end for end in link.ends if end != edge_of.name)
            if far in found:
                found = with_results(found, far, **without_sessions(found[far], edge_of.name, link.name))
    for host in ESTATE.hosts_at(site):
        found[host.name] = Reply(host=host.name, reachable=False, reason="no answer", took_s=5.0)
    return found


def without_sessions(reply: Reply, router: str, link: str) -> dict[str, Any]:
    """Return the BGP summaries with the sessions to that router over that link down."""
    interface = PLAN.hosts[router].link(link)
    ipv4, ipv6, bfd = reply.documents("frr")
    ipv4["peers"][str(interface.ipv4.ip)] = ipv6["peers"][str(interface.ipv6.ip)] = {"state": "Connect"}
    return {"frr": shown(ipv4, ipv6, bfd)}


def changed_frr(replies: Replies, host: str, *, ipv4: Any = ..., ipv6: Any = ..., bfd: Any = ...) -> Replies:
    """Return the replies with another BGP summary of a family or other BFD peers of one edge router."""
    now = zip(replies[host].documents("frr"), (ipv4, ipv6, bfd), strict=True)
    return with_results(replies, host, frr=shown(*(old if new is ... else new for old, new in now)))


def observe(replies: Replies) -> Observation:
    """Return the observation that is built from the replies."""
    return observation_of(ESTATE, PLAN, replies, at=1000.0, took_s=0.6)
