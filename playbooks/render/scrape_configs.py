"""The scrape jobs of Prometheus: probes that see the services as users do, and the metrics of every daemon."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from facts import ports
from playbooks.render import blackbox, etcd, ingress, node_exporter, pki, postgresql
from playbooks.render.kubernetes.cluster import api_url

PROMETHEUS_PORT = ports.PROMETHEUS
METRICS_PATH = "/metrics"
"""Prometheus' own default."""
PROBE_INTERVAL = "5s"
CLUSTER_INTERVAL = "15s"
"""Longer than `PROBE_INTERVAL`, because running pods do not stop with an API server."""

KEPT_OF_ETCD = (
    "etcd_(server_(has_leader|is_leader|leader_changes_seen_total|quota_backend_bytes|proposals_(failed_total|pending))"
    "|mvcc_db_total_size_in_bytes|disk_(wal_fsync|backend_commit)_duration_seconds_(bucket|sum|count)"
    "|network_peer_round_trip_time_seconds_(bucket|sum|count))|up"
)
"""etcd offers about 1 500 series per member. These are the series that rules and engineers use."""

KEPT_OF_INGRESS = (
    "haproxy_(backend_(active_servers|status|current_queue|(connect|response|queue)_time_average_seconds)|server_status"
    "|frontend_(current_sessions|http_requests_total)|(frontend|backend)_http_responses_total)|up"
)
"""HAProxy offers about 700 series per ingress."""

KEPT_OF_DISKS = "node_filesystem_(avail_bytes|size_bytes|readonly|device_error)|up"

Address = IPv4Address | IPv6Address


def scrape_jobs(estate: Estate, plan: AddressPlan, monitoring_host: Host) -> list[dict[str, Any]]:
    """Return `scrape_configs` of Prometheus on that host, service first."""
    ops, kube = (
        tuple(host for host in estate.managed_hosts if host.kind is kind) for kind in (HostRole.OPS, HostRole.KUBE)
    )
    return [
        *_anycast(estate, plan, monitoring_host),
        *_sites(estate, plan, monitoring_host),
        _places(estate, plan, monitoring_host),
        *_clusters(estate, plan, monitoring_host),
        _kept(_direct("ingress", plan, kube, ingress.METRICS_PORT), KEPT_OF_INGRESS),
        *_services(estate, plan, kube),
        _direct("patroni", plan, estate.database_members, postgresql.REST_PORT, tls=_tls(client=False)),
        _kept(_direct("etcd", plan, estate.etcd_members, etcd.CLIENT_PORT, tls=_tls(client=True)), KEPT_OF_ETCD),
        _kept(_direct("disks", plan, [h for h in estate.managed_hosts if h.disk], node_exporter.PORT), KEPT_OF_DISKS),
        _direct("prometheus", plan, ops, PROMETHEUS_PORT),
        _direct("blackbox", plan, ops, blackbox.PORT),
    ]


def _anycast(estate: Estate, plan: AddressPlan, monitoring_host: Host) -> Iterable[dict[str, Any]]:
    """Yield probes of each public service at its anycast addresses, in both families, on every health path."""
    for service in estate.public_services:
        addresses = plan.anycast[service.name]
        static = [
            {
                "targets": [_url(address, path)],
                "labels": {"service": service.name, "path": path.lstrip("/"), "family": f"ipv{address.version}"},
            }
            for address in (addresses.ipv4, addresses.ipv6)
            for path in service.contract.health.paths
        ]
        yield _probe(f"anycast-{service.name}", service.name, static, plan, monitoring_host)


def _sites(estate: Estate, plan: AddressPlan, monitoring_host: Host) -> Iterable[dict[str, Any]]:
    """Yield probes of each public service in each site where it is placed, at the site's own addresses."""
    for service in estate.public_services:
        ready = service.contract.health.ready or service.contract.health.live
        static = []
        for host in estate.managed_hosts:
            if host.kind is not HostRole.KUBE or host.at not in service.placement.sites:
                continue
            lan = plan.lan(host.name)
            for address in (lan.ipv4, lan.ipv6):
                labels = {
                    "service": service.name, "path": ready.lstrip("/"), "family": f"ipv{address.version}",
                    "host": host.name, "site": host.at,
                }  # fmt: skip
                static.append({"targets": [_url(address, ready)], "labels": labels})
        yield _probe(f"site-{service.name}", service.name, static, plan, monitoring_host)


def _services(estate: Estate, plan: AddressPlan, kube: Iterable[Host]) -> Iterable[dict[str, Any]]:
    """Yield the metrics of each service's pods, through the ingress of each site where it is placed."""
    for service in estate.services:
        contract, placed = service.contract, [host for host in kube if host.at in service.placement.sites]
        job = _direct(service.name, plan, placed, contract.monitoring_port)
        yield job if contract.metrics == METRICS_PATH else {**job, "metrics_path": contract.metrics}


def _places(estate: Estate, plan: AddressPlan, monitoring_host: Host) -> dict[str, Any]:
    """Return pings of each site's edge and each peer's server."""
    static = []
    for host in estate.hosts:
        loopback = plan.hosts[host.name].loopback
        if host.kind is HostRole.EDGE and loopback:
            labels = {"place": host.at, "host": host.name, "kind": "site"}
            static.append({"targets": [str(loopback.ipv4)], "labels": labels})
        elif host.kind is HostRole.PEER_SERVER:
            labels = {"place": host.at, "host": host.name, "kind": "peer"}
            static.append({"targets": [str(plan.lan(host.name).ipv4)], "labels": labels})
    return _probe("places", blackbox.PING, static, plan, monitoring_host)


def _clusters(estate: Estate, plan: AddressPlan, monitoring_host: Host) -> Iterable[dict[str, Any]]:
    """Yield probes of each cluster's API server, which also show its etcd, and of its nodes by the server's API."""
    for cluster in estate.clusters:
        site, nodes = cluster.site, estate.nodes_at(cluster.site)
        url = api_url(estate, plan, site)
        ready = [{"targets": [f"{url}/readyz"], "labels": {"site": site, "host": nodes[0].name, "part": "api"}}]
        each = [
            {
                "targets": [f"{url}/api/v1/nodes/{node.name}"],
                "labels": {"site": site, "host": node.name, "part": "node"},
            }
            for node in nodes
        ]
        for module, static in ((blackbox.cluster_module(site), ready), (blackbox.node_module(site), each)):
            yield {**_probe(module, module, static, plan, monitoring_host), "scrape_interval": CLUSTER_INTERVAL}


def _probe(
    job: str, module: str, static: list[dict[str, Any]], plan: AddressPlan, monitoring_host: Host
) -> dict[str, Any]:
    return {
        "job_name": job,
        "scrape_interval": PROBE_INTERVAL,
        "metrics_path": "/probe",
        "params": {"module": [module]},
        "static_configs": static,
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__address__"], "target_label": "instance"},
            {"target_label": "seen_from", "replacement": monitoring_host.at},
            {"target_label": "__address__", "replacement": f"{plan.lan(monitoring_host.name).ipv4}:{blackbox.PORT}"},
        ],
    }


def _direct(
    job: str, plan: AddressPlan, hosts: Iterable[Host], port: int, tls: dict[str, Any] | None = None
) -> dict[str, Any]:
    static = [
        {"targets": [f"{plan.lan(h.name).ipv4}:{port}"], "labels": {"host": h.name, "site": h.at, "instance": h.name}}
        for h in hosts
    ]
    return {"job_name": job, **(tls or {}), "static_configs": static}


def _kept(scrape: dict[str, Any], names: str) -> dict[str, Any]:
    return {**scrape, "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": names, "action": "keep"}]}


def _tls(*, client: bool) -> dict[str, Any]:
    files = {"ca_file": pki.AUTHORITY_FILE}
    if client:
        files |= {"cert_file": pki.CERT_FILE, "key_file": pki.KEY_FILE}
    return {"scheme": "https", "tls_config": files}


def _url(address: Address, path: str) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"https://{host}{path}"
