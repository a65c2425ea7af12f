"""The ingress of a site: HAProxy terminates the citizens' TLS and connects the services to the right database.

Towards citizens it listens on the services' anycast addresses and on its own. It forwards requests to the fixed address
of a service's pods in the cluster. If a pod ends in the middle of a request, the next try goes to another pod, if the
service's contract allows that. A bureau's gateway has its own anycast address, and the ingress forwards its connections
unchanged.

Towards the database it has two ports for the pods of its own node. One leads to the primary that Patroni reports. The
other leads to the members of its own site, whatever Patroni reports: reads continue even if every Patroni is down. When
the primary loses its role, the ingress closes open sessions to it at once, so that no client waits for an answer that
cannot come.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv6Address

from estate.addressing import AddressPlan, Dual
from estate.model import Bureau, Estate, Host, Service
from facts import ports
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render import gateway, haproxy, nftables
from playbooks.render.kubernetes import node as kubernetes_node
from playbooks.render.pki import AUTHORITY_FILE, BUNDLE_FILE
from playbooks.render.text import header_comment, join_lines
from playbooks.secrets import Secrets

CONFIG_FILE = "/etc/haproxy/haproxy.cfg"
FILTER_FILE = f"{nftables.FRAGMENTS}/60-ingress.nft"
UNIT = "haproxy.service"
CITIZENS_PORT = ports.HTTPS
METRICS_PORT = ports.INGRESS_METRICS
PATRONI_PORT = ports.PATRONI
POSTGRESQL_PORT = ports.POSTGRESQL
MOST_AT_A_GATEWAY = 800
"""Connections of all citizens to one bureau's gateway: the capacity of two of its pods."""

SYSCTLS = {
    # An anycast address may be added after the ingress has started. The ingress must start without it.
    "net.ipv4.ip_nonlocal_bind": "1",
    "net.ipv6.ip_nonlocal_bind": "1",
}

HEAD = f"""\
# Ingress. Written by govcloud: the next `govcloud up` restores it.
global
    log stdout format raw daemon notice
    user haproxy
    group haproxy
    chroot /var/lib/haproxy
    stats socket /run/haproxy/admin.sock mode 660 level admin
    maxconn 8000
    hard-stop-after 10s
{haproxy.TLS}
{haproxy.DEFAULTS}"""

CITIZENS_RULES = f"""\
    mode http
    # A body is gathered here first: slow senders take no place in the service.
    option http-buffer-request
    http-request return {haproxy.saying(404, "path_unknown", "没有这个页面。", "There is no such page.")} \
if {{ path -m beg %(metrics)s }}
%(gateways)s\
{haproxy.ENDED_HERE}\
    http-response set-header X-Govcloud-Site %(site)s
"""

REPEATED = f"""\
    # A pod that is gone or goes before it has answered: the next connection leads to another. It is safe to ask twice,
    # because an application's key makes the second answer the first one; whoever has no key is refused.
{haproxy.RETRY}"""
ONCE = f"""\
    # A pod that is gone: the next connection leads to another. No request is sent twice.
{haproxy.CONNECT_AGAIN}"""
CHECK = "check inter 1s fall 3 rise 1"
PROBES = """\
    # Each by a connection of its own, so that every pod is asked in its turn.
    http-reuse never
    option http-server-close
"""


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the role.

    The role pki installs the certificate. Its hash is in the configuration, so a new one is loaded.
    """
    certificate = hashlib.sha256(secrets.certificates[host.name].cert.encode()).hexdigest()
    config = File(
        path=CONFIG_FILE,
        text=f"{config_text(estate, plan, host)}\n# Serves with the certificate of SHA-256 {certificate}.\n",
        validate="haproxy -c -f %s",
        notify=(f"reload:{UNIT}",),
    )
    files = (*_filter(estate, plan, host), config)
    return RoleSpec(role="ingress", files=files, units=(Unit(name=UNIT),), sysctls=SYSCTLS)


def _filter(estate: Estate, plan: AddressPlan, host: Host) -> tuple[File, ...]:
    if host not in estate.nodes_at(host.at):
        return ()
    return (
        File(
            path=FILTER_FILE,
            text=filter_text(plan, host),
            validate="/usr/sbin/nft -c -f %s",
            notify=nftables.RELOAD,
        ),
    )


def filter_text(plan: AddressPlan, host: Host) -> str:
    """Return the filter that admits only the node's own pods to the database's ports."""
    pods, lan = plan.clusters[host.at].nodes[host.name], plan.lan(host.name)
    accepted = f"tcp dport {{ {ports.DATABASE_PRIMARY}, {ports.DATABASE_LOCAL} }} accept"
    rules = (
        f'iifname "{kubernetes_node.BRIDGE}" ip saddr {pods.ipv4} ip daddr {lan.ipv4} {accepted}',
        f'iifname "{kubernetes_node.BRIDGE}" ip6 saddr {pods.ipv6} ip6 daddr {lan.ipv6} {accepted}',
    )
    chain = ("    chain input_extra {", *(f"        {rule}" for rule in rules), "    }")
    return header_comment("The database's ports in the packet filter", host.name) + join_lines(
        "", "table inet govcloud {", chain, "}"
    )


def config_text(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the whole configuration of one host."""
    services = services_at(estate, host)
    parts = [HEAD, _citizens(estate, plan, host)]
    parts += [_backends(estate, plan, host, service) for service in services]
    parts += [_observation(plan, host, services)]
    parts += [_gateway(plan, host, bureau) for bureau in gateways(estate, host)]
    parts += [_primary(estate, plan, host), _local(estate, plan, host)]
    return "\n".join(parts)


def services_at(estate: Estate, host: Host) -> tuple[Service, ...]:
    """Return the services that are placed at the host's site, in declared order."""
    return tuple(service for service in estate.services if host.at in service.placement.sites)


def _citizens(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the frontend for citizens. Requests for no other service's name are for the first public service."""
    public = [service for service in services_at(estate, host) if service.public]
    addresses = [address for service in public for address in _both(plan.anycast[service.name])]
    binds = "".join(
        f"    bind {_socket(address, CITIZENS_PORT)} ssl crt {BUNDLE_FILE} alpn h2,http/1.1\n"
        for address in (*addresses, *_both(plan.lan(host.name)))
    )
    asked = "".join(_asked(bureau) for bureau in gateways(estate, host))
    hidden = " ".join(dict.fromkeys(service.contract.metrics for service in public)) or "/metrics"
    rules = CITIZENS_RULES % {"site": host.at, "gateways": asked, "metrics": hidden}
    others = "".join(_named(service) for service in public[1:])
    first = _routes(public[0], "") + f"    default_backend {public[0].name}\n" if public else ""
    return f"frontend citizens\n{binds}{rules}{others}{first}"


def _named(service: Service) -> str:
    """Return the rules for requests that name the service."""
    condition = f" {{ req.hdr(host),field(1,:) -i {service.name} {service.name}.govcloud }}"
    return _routes(service, condition) + f"    use_backend {service.name} if{condition}\n"


def _routes(service: Service, condition: str) -> str:
    """Return the rules for the service's health paths and for the methods with a limit of their own."""
    contract = service.contract
    routes = contract.public.routes if contract.public else ()
    rules = [f"use_backend {contract.probes_backend} if{condition} {{ path {' '.join(contract.health.paths)} }}"]
    for route in routes:
        methods = "METH_POST" if route.methods == ("POST",) else f"{{ method {' '.join(route.methods)} }}"
        rules.append(f"use_backend {route.backend} if{condition} {methods}")
    return "".join(f"    {rule}\n" for rule in rules)


def gateways(estate: Estate, host: Host) -> tuple[Bureau, ...]:
    """Return the bureaus whose gateway is reached through the host.

    There is one gateway at every site with a cluster.
    """
    return tuple(bureau for bureau in estate.bureaus if bureau.gateway and host in estate.nodes_at(host.at))


def gateway_path(bureau: Bureau) -> str:
    """Return the path at which the site's router asks the ingress whether it can reach the bureau's gateway."""
    return f"/gateways/{bureau.name}/readyz"


def _asked(bureau: Bureau) -> str:
    path, name = gateway_path(bureau), bureau.gateway_name
    return (
        f"    http-request return status 200 if {{ path {path} }} {{ nbsrv({name}) ge 1 }}\n"
        f"    http-request return status 503 if {{ path {path} }}\n"
    )


def _gateway(plan: AddressPlan, host: Host, bureau: Bureau) -> str:
    """Return the parts of one gateway.

    Its own address separates a bureau's traffic from the services of all citizens.
    """
    inside = plan.clusters[host.at].gateways[bureau.name].ipv4
    binds = "".join(f"    bind {_socket(address, CITIZENS_PORT)}\n" for address in _both(plan.gateways[bureau.name]))
    return (
        f"# TLS ends in the bureau's own pods, which are told who the citizen is (PROXY protocol).\n"
        f"frontend {bureau.gateway_name}\n    mode tcp\n{binds}    maxconn {MOST_AT_A_GATEWAY}\n"
        f"    timeout client 1h\n    default_backend {bureau.gateway_name}\n\n"
        f"backend {bureau.gateway_name}\n    mode tcp\n    timeout server 1h\n{haproxy.CONNECT_AGAIN}"
        f"    option httpchk GET {gateway.READY}\n    http-check expect status 200\n"
        f"    server pods {_socket(inside, gateway.PROXIED_PORT)} send-proxy-v2"
        f" check port {gateway.OBSERVED_PORT} inter 1s fall 3 rise 1\n"
    )


def _backends(estate: Estate, plan: AddressPlan, host: Host, service: Service) -> str:
    """Return the backends of a service. A site without a cluster has no pods, and it answers that it is down."""
    contract = service.contract
    check = f"    option httpchk GET {contract.health.live}\n    http-check expect status 200\n"

    def server(options: str) -> str:
        if host not in estate.nodes_at(host.at):
            return ""
        address = plan.service_cluster_ip(host.at, service.name).ipv4
        return f"    server pods {_socket(address, contract.port)} {options}\n"

    if not (public := contract.public):
        return (
            f"# Health paths and metrics of {service.name}, which citizens do not reach.\n"
            f"backend {contract.probes_backend}\n    mode http\n{PROBES}{check}{haproxy.RETRY}{server(CHECK)}"
        )
    down = (haproxy.saying(status, "site_down", public.down.zh, public.down.en) for status in (502, 503, 504))
    headers = f"hdr Retry-After 1 hdr X-Govcloud-Site {host.at}"
    common = REPEATED if public.repeatable else ONCE
    common += "".join(f"    http-error {answer} {headers}\n" for answer in down)
    track = f"track {service.name}/pods"
    routes = "".join(
        f"backend {route.backend}\n    mode http\n{common}{server(f'maxconn {route.at_once} {track}')}\n"
        for route in public.routes
    )
    return (
        f"backend {service.name}\n    mode http\n{check}{common}{server(f'maxconn {public.at_once} {CHECK}')}\n"
        f"{routes}"
        "# Probes have a way of their own: a site is not withdrawn because its queue of citizens is long.\n"
        f"backend {contract.probes_backend}\n    mode http\n{PROBES}{common}{server(track)}"
    )


def _observation(plan: AddressPlan, host: Host, services: tuple[Service, ...]) -> str:
    lan, contracts = _both(plan.lan(host.name)), [service.contract for service in services]
    binds = "".join(
        f"    bind {_socket(address, contract.monitoring_port)}\n" for contract in contracts for address in lan
    )
    own = "".join(f"    bind {_socket(address, METRICS_PORT)}\n" for address in lan)
    paths = dict.fromkeys(path for contract in contracts for path in (contract.metrics, *contract.health.paths))
    others = "".join(
        f"    use_backend {contract.probes_backend} if {{ dst_port {contract.monitoring_port} }}\n"
        for contract in contracts[1:]
    )
    probes = (
        f"frontend service-metrics\n    mode http\n{binds}"
        f"    http-request deny deny_status 404 unless {{ path {' '.join(paths)} }}\n"
        f"{others}    default_backend {contracts[0].probes_backend}\n\n"
    )
    return (
        "# For the monitors of the estate; the firewall admits nobody else.\n"
        f"{probes if contracts else ''}"
        f"frontend ingress-metrics\n    mode http\n{own}"
        "    http-request use-service prometheus-exporter if { path /metrics }\n"
        "    http-request deny deny_status 404\n"
    )


def _primary(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the port to the primary.

    Patroni's answer decides. A member whose check fails twice gets no connections.
    """
    checks = (
        f"check check-ssl verify required ca-file {AUTHORITY_FILE} port {PATRONI_PORT}"
        " inter 1s downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions"
    )
    servers = "".join(
        f"    server {member.name} {_socket(plan.lan(member.name).ipv4, POSTGRESQL_PORT)} verifyhost {member.name}\n"
        for member in _nearest_first(estate, host)
    )
    return (
        "# Whoever is primary.\n"
        f"listen database-primary\n{_ways(estate, plan, host, ports.DATABASE_PRIMARY)}    mode tcp\n    balance first\n"
        "    timeout client 1h\n    timeout server 1h\n"
        "    option httpchk\n    http-check send meth GET uri /primary ver HTTP/1.1 hdr Host patroni\n"
        "    http-check expect status 200\n"
        f"    default-server {checks}\n{servers}"
    )


def _local(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the port to the site's own members. A member counts as alive if PostgreSQL itself answers.

    The check sends GSSENCRequest, which PostgreSQL answers with one letter. It is the only request after which
    PostgreSQL accepts a closed connection without a line in its log. The check runs twice a second.
    """
    servers = "".join(
        f"    server {member.name} {_socket(plan.lan(member.name).ipv4, POSTGRESQL_PORT)}\n"
        for member in estate.database_members
        if member.at == host.at
    )
    return (
        "# The members of this site, asked in PostgreSQL's own protocol (GSSENCRequest, answered by G or N).\n"
        f"listen database-local\n{_ways(estate, plan, host, ports.DATABASE_LOCAL)}    mode tcp\n    balance first\n"
        "    timeout client 1h\n    timeout server 1h\n"
        "    option tcp-check\n    tcp-check connect\n    tcp-check send-binary 0000000804d21630\n"
        "    tcp-check expect rbinary ^(47|4E)\n"
        f"    default-server check inter 1s downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions\n{servers}"
    )


def _ways(estate: Estate, plan: AddressPlan, host: Host, port: int) -> str:
    """Return the addresses of the database ports for the host and its own pods. The firewall stops other clients."""
    pods = _both(plan.lan(host.name)) if host in estate.nodes_at(host.at) else ()
    return "".join(f"    bind {_socket(address, port)}\n" for address in (IPv4Address("127.0.0.1"), *pods))


def _nearest_first(estate: Estate, host: Host) -> list[Host]:
    return sorted(estate.database_members, key=lambda member: member.at != host.at)


def _both(addresses: Dual) -> tuple[IPv4Address, IPv6Address]:
    return addresses.ipv4, addresses.ipv6


def _socket(address: IPv4Address | IPv6Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
