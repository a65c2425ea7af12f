"""The queries of each host, by its role. Pure functions: they turn the estate into plain dictionaries."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from facts import ports
from facts.host_paths import CA_FILE, CERT_FILE, KEY_FILE, KUBERNETES_PKI, kept_forks

Query = dict[str, Any]
Queries = dict[str, Query]

ROUTE_PROTOCOL = "99"
"""Protocol number with which the announcer marks its kernel routes."""
TENANTS, DEPLOYMENTS_PATH = "tenants", "/apis/apps/v1/deployments"
MAX_LIST_BYTES = 6 << 20
"""A Deployment takes 3 to 5 KiB, so the list holds more than a thousand. The whole reply may have 8 MiB, see
`ssh_session.MAX_REPLY_BYTES`."""
PATHS = ("healthz", "readyz", "writez")

POSITION = """\
select json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'position', case when pg_is_in_recovery()
    then pg_wal_lsn_diff(coalesce((select flushed_lsn from pg_stat_wal_receiver), pg_last_wal_replay_lsn()), '0/0')
    else pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') end,
  'replayed', pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'),
  'timeline', case when pg_is_in_recovery()
    then (select received_tli from pg_stat_wal_receiver)
    else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  'receiver', (select json_build_object('status', status, 'sender', sender_host) from pg_stat_wal_receiver),
  'standbys', (select coalesce(json_agg(json_build_object(
      'name', application_name, 'state', state, 'sync', sync_state)), '[]') from pg_stat_replication),
  'synchronous_standby_names', current_setting('synchronous_standby_names'))"""
"""Replication state from PostgreSQL itself, so that it is known when Patroni is down."""


def queried_hosts(estate: Estate, hosts: Collection[str] | None = None) -> tuple[Host, ...]:
    """Return the managed hosts and the vantages, or the ones among them that are in `hosts`.

    Peers' routers and servers are never queried: other organisations run them. If `hosts` has a vantage, the hosts of
    the services are included, because they hold the CA certificate that the vantage needs.
    """
    own = {host.name for host in estate.managed_hosts}
    found = tuple(host for host in estate.hosts if host.name in own or host.kind is HostRole.VANTAGE)
    if hosts is None:
        return found
    vantage = any(host.kind is HostRole.VANTAGE and host.name in hosts for host in found)
    return tuple(host for host in found if host.name in hosts or (vantage and host.kind is HostRole.KUBE))


def queries_of(estate: Estate, plan: AddressPlan, host: Host, *, tenants: bool = False) -> Queries:
    """Return all queries of the host by name. Vantages also need the text of the CA certificate, see `with_ca`.

    With `tenants` an API server also lists the bureaus' own Deployments. Only an upgrade reads them, so the polls of a
    watch leave them out.
    """
    queries: Queries = {
        "failed": _command("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"),
        "uptime": {"kind": "text", "path": "/proc/uptime"},
    }
    if host.kind is HostRole.EDGE:
        queries |= _edge()
    if host.database:
        queries |= _database(plan, host)
    if host.etcd_votes:
        queries |= _etcd(plan, host)
    if host.kind is HostRole.KUBE:
        queries |= _site(estate, plan, host)
    if host in estate.nodes_at(host.at)[:1]:
        queries |= _cluster(estate, host, tenants=tenants)
    if host.kind is HostRole.VANTAGE:
        queries |= _vantage(estate, plan, host)
    return queries


def with_ca(queries: Queries, ca: str) -> Queries:
    """Return the queries with the CA certificate (PEM) in them, because a vantage has no file with it."""
    return {
        name: query | {"ca_text": ca} if query["kind"] == "https" and "ca_file" not in query else query
        for name, query in queries.items()
    }


def needs_ca(queries: Queries) -> bool:
    """Return whether any query needs the text of the CA certificate before it can be sent."""
    return any(_lacks_ca(query) for query in queries.values())


def _lacks_ca(query: Query) -> bool:
    return query["kind"] == "https" and "ca_file" not in query


def _edge() -> Queries:
    return {
        "bgp4": _command("vtysh", "-c", "show bgp ipv4 unicast summary json"),
        "bgp6": _command("vtysh", "-c", "show bgp ipv6 unicast summary json"),
        "bfd": _command("vtysh", "-c", "show bfd peers json"),
        "routes4": _command("ip", "-4", "-j", "route", "show", "proto", ROUTE_PROTOCOL),
        "routes6": _command("ip", "-6", "-j", "route", "show", "proto", ROUTE_PROTOCOL),
    }


def _database(plan: AddressPlan, host: Host) -> Queries:
    address = str(plan.lan(host.name).ipv4)
    psql = ("env", "PGCONNECT_TIMEOUT=2", "PGOPTIONS=-c statement_timeout=2000", "psql", "-XAtq", "-d", "postgres")
    return {
        "patroni": _https(address, ports.PATRONI, host.name, "/patroni"),
        "cluster": _https(address, ports.PATRONI, host.name, "/cluster"),
        "forks": _command("find", kept_forks(host), "-mindepth", "2", "-maxdepth", "2", "-name", "report.json"),
        "postgresql": _command("runuser", "-u", "postgres", "--", *psql, "-c", POSITION),
    }


def _etcd(plan: AddressPlan, host: Host) -> Queries:
    address = str(plan.lan(host.name).ipv4)
    certificate = {"cert_file": CERT_FILE, "key_file": KEY_FILE}
    status = _https(address, ports.ETCD_CLIENT, host.name, "/v3/maintenance/status") | {"method": "POST", "body": "{}"}
    return {
        "etcd_health": _https(address, ports.ETCD_CLIENT, host.name, "/health") | certificate,
        "etcd_status": status | certificate,
    }


def _site(estate: Estate, plan: AddressPlan, host: Host) -> Queries:
    address = str(plan.lan(host.name).ipv4)
    queries: Queries = {"ca": {"kind": "text", "path": CA_FILE}}
    for service in estate.services:
        if host.at in service.placement.sites:
            for path in PATHS:
                queries[f"health {service.name} 4 {path}"] = _https(address, ports.HTTPS, service.name, f"/{path}")
    return queries


def _cluster(estate: Estate, host: Host, *, tenants: bool) -> Queries:
    """Return the queries for the version, the nodes, and each Deployment that the estate puts on the site's cluster.

    There is no query for /readyz: the API server lists nodes from etcd, so a list of nodes proves as much.
    """
    queries = {"version": _kubernetes("/version"), "nodes": _kubernetes("/api/v1/nodes")}
    for namespace, name in declared_deployments(estate, host.at):
        queries[f"pods {name}"] = _kubernetes(deployment_path(namespace, name))
    if tenants:
        queries[TENANTS] = _kubernetes(DEPLOYMENTS_PATH) | {"max_bytes": MAX_LIST_BYTES}
    return queries


def declared_deployments(estate: Estate, site: str) -> dict[tuple[str, str], int]:
    """Return the pods of each Deployment that the estate itself puts on the site's cluster, by namespace and name.

    They are the services placed there and the bureaus' gateways. Every other Deployment is a bureau's own.
    """
    services = (service for service in estate.services if site in service.placement.sites)
    pods = {(service.bureau, service.name): service.pods.replicas.get(site, 0) for service in services}
    return pods | {(one.name, one.gateway_name): one.gateway.replicas for one in estate.bureaus if one.gateway}


def deployment_path(namespace: str, name: str) -> str:
    """Return the API path of a Deployment."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def _kubernetes(path: str) -> Query:
    """Return a query to the API server with the cluster's own certificates, which only root on the host can read."""
    files = {"ca_file": "ca.crt", "cert_file": "admin.crt", "key_file": "admin.key"}
    found = _https("127.0.0.1", ports.KUBERNETES_API, "kubernetes", path)
    return found | {key: f"{KUBERNETES_PKI}/{name}" for key, name in files.items()}


def _vantage(estate: Estate, plan: AddressPlan, host: Host) -> Queries:
    queries: Queries = {}
    for name in dict.fromkeys(s for v in estate.vantages if v.host == host.name for s in v.reaches):
        addresses = plan.anycast[name]
        for family, address in ((4, str(addresses.ipv4)), (6, str(addresses.ipv6))):
            for path in PATHS:
                query = _https(address, ports.HTTPS, name, f"/{path}")
                del query["ca_file"]
                queries[f"health {name} {family} {path}"] = query
    return queries


def _command(*argv: str) -> Query:
    return {"kind": "command", "argv": list(argv)}


def _https(address: str, port: int, name: str, path: str) -> Query:
    return {"kind": "https", "address": address, "port": port, "name": name, "path": path, "ca_file": CA_FILE}
