"""What each host is asked, by its kind. Pure: estate in, plain queries out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole, Service

Query = dict[str, Any]
Queries = dict[str, Query]

PKI = "/etc/govcloud/pki"
CA_FILE = f"{PKI}/ca.crt"
ETCD_PORT, PATRONI_PORT, HTTPS_PORT, KUBERNETES_PORT = 2379, 8008, 443, 6443
KUBERNETES_PKI = "/etc/kubernetes/pki"
ROUTE_PROTOCOL = "99"
"""The announcer's mark on its kernel routes."""
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
"""PostgreSQL's own word, which stands also when Patroni is down."""


def queried_hosts(estate: Estate, hosts: Collection[str] | None = None) -> tuple[Host, ...]:
    """Our own hosts, and the vantages, or those of them in `hosts`; peers' routers and servers are not ours to ask.

    Where a vantage is asked, so are the services' hosts: they hold the certificate that it needs.
    """
    own = {host.name for host in estate.managed_hosts}
    found = tuple(host for host in estate.hosts if host.name in own or host.kind is HostRole.VANTAGE)
    if hosts is None:
        return found
    vantage = any(host.kind is HostRole.VANTAGE and host.name in hosts for host in found)
    return tuple(host for host in found if host.name in hosts or (vantage and host.kind is HostRole.KUBE))


def queries_of(estate: Estate, plan: AddressPlan, host: Host) -> Queries:
    """Everything that the host is asked. Vantages need the authority's text, see `with_ca`."""
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
        queries |= _cluster(estate, host)
    if host.kind is HostRole.VANTAGE:
        queries |= _vantage(estate, plan, host)
    return queries


def with_ca(queries: Queries, ca: str) -> Queries:
    """The same queries, verifying answers by the authority's certificate (PEM): a vantage has no file of ours."""
    return {
        name: query | {"ca_text": ca} if query["kind"] == "https" and "ca_file" not in query else query
        for name, query in queries.items()
    }


def needs_ca(queries: Queries) -> bool:
    """Whether a query can only be asked with the authority's text."""
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
        "patroni": _https(address, PATRONI_PORT, host.name, "/patroni"),
        "cluster": _https(address, PATRONI_PORT, host.name, "/cluster"),
        "forks": _command("find", kept_forks(host), "-mindepth", "2", "-maxdepth", "2", "-name", "report.json"),
        "postgresql": _command("runuser", "-u", "postgres", "--", *psql, "-c", POSITION),
    }


def kept_forks(host: Host) -> str:
    """Where the host keeps WAL that had diverged, a folder with a report for each time."""
    return f"{host.disk.mount if host.disk else '/var/lib'}/diverged"


def _etcd(plan: AddressPlan, host: Host) -> Queries:
    address = str(plan.lan(host.name).ipv4)
    certificate = {"cert_file": f"{PKI}/host.crt", "key_file": f"{PKI}/host.key"}
    status = _https(address, ETCD_PORT, host.name, "/v3/maintenance/status") | {"method": "POST", "body": "{}"}
    return {
        "etcd_health": _https(address, ETCD_PORT, host.name, "/health") | certificate,
        "etcd_status": status | certificate,
    }


def _site(estate: Estate, plan: AddressPlan, host: Host) -> Queries:
    address = str(plan.lan(host.name).ipv4)
    queries: Queries = {"ca": {"kind": "text", "path": CA_FILE}}
    for service in estate.services:
        if host.at in (*service.placement.active, *service.placement.ready):
            for path in PATHS:
                queries[f"health {service.name} 4 {path}"] = _https(address, HTTPS_PORT, service.name, f"/{path}")
    return queries


def _cluster(estate: Estate, host: Host) -> Queries:
    """Its nodes, and of each service placed there the pods. Who can list nodes reads etcd, so /readyz adds nothing."""
    queries = {"nodes": _kubernetes("/api/v1/nodes")}
    for service in estate.services:
        if host.at in (*service.placement.active, *service.placement.ready):
            queries[f"pods {service.name}"] = _kubernetes(workload_path(service))
    return queries


def workload_path(service: Service) -> str:
    """Where a cluster keeps what it runs of a service: a Deployment of its name in the namespace of its bureau."""
    return f"/apis/apps/v1/namespaces/{service.bureau}/deployments/{service.name}"


def _kubernetes(path: str) -> Query:
    """The cluster's own certificates, which only the host's root can read."""
    files = {"ca_file": "ca.crt", "cert_file": "admin.crt", "key_file": "admin.key"}
    found = _https("127.0.0.1", KUBERNETES_PORT, "kubernetes", path)
    return found | {key: f"{KUBERNETES_PKI}/{name}" for key, name in files.items()}


def _vantage(estate: Estate, plan: AddressPlan, host: Host) -> Queries:
    queries: Queries = {}
    for name in dict.fromkeys(s for v in estate.vantages if v.host == host.name for s in v.reaches):
        addresses = plan.anycast[name]
        for family, address in ((4, str(addresses.ipv4)), (6, str(addresses.ipv6))):
            for path in PATHS:
                query = _https(address, HTTPS_PORT, name, f"/{path}")
                del query["ca_file"]
                queries[f"health {name} {family} {path}"] = query
    return queries


def _command(*argv: str) -> Query:
    return {"kind": "command", "argv": list(argv)}


def _https(address: str, port: int, name: str, path: str) -> Query:
    return {"kind": "https", "address": address, "port": port, "name": name, "path": path, "ca_file": CA_FILE}
