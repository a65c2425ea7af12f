"""Role nftables: default deny towards every host; on routers also the rules of forwarding between places.

Forwarding is stateless and untracked: an anycast flow may come in through one city site and go out through the other,
so no router sees all of it. Towards hosts the filter is stateful. Other roles add rules by fragments in
/etc/nftables.d, which fill the chains `input_extra` and `forward_extra`. This role never changes other tables, for
example a fence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from estate.addressing import AddressPlan, is_router
from estate.model import Estate, Host, HostRole
from facts import ports as port
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render import bgp
from playbooks.render.text import header_comment

TABLE = "inet govcloud"
FRAGMENTS = "/etc/nftables.d"
RELOAD = ("reload:nftables.service",)
BFD_PORTS = ("3784", "4784")
"""FRR uses the second, multi-hop, port as soon as a BGP session has ttl-security."""
_PING = "echo-request, echo-reply, destination-unreachable, time-exceeded, parameter-problem"
_PING6 = "echo-request, echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """TCP ports of a host to which `sources` may connect. Empty sources mean everyone."""

    why: str
    ports: tuple[int, ...]
    sources: tuple[str, ...] = ()


def role_spec(estate: Estate, plan: AddressPlan, host: Host) -> RoleSpec:
    """Return the role on one of our hosts."""
    text = (router if is_router(host) else server)(estate, plan, host)
    return RoleSpec(
        role="nftables",
        files=(
            File(path="/etc/nftables.conf", text=text, mode="0755", validate="/usr/sbin/nft -c -f %s", notify=RELOAD),
        ),
        units=(Unit(name="nftables.service"),),
    )


def openings(estate: Estate, host: Host) -> tuple[Opening, ...]:
    """Return the permitted connections to a host, without those of a router's neighbours."""
    kube, data, ops = (_names(estate, kind) for kind in (HostRole.KUBE, HostRole.DATA, HostRole.OPS))
    votes = tuple(member.name for member in estate.etcd_members)
    monitoring = tuple(service.contract.monitoring_port for service in estate.services)
    found = []
    if host.disk:
        found.append(Opening(why="figures of the data disk", ports=(port.NODE_EXPORTER,), sources=ops))
    if host.kind is HostRole.KUBE:
        found += [
            Opening(why="ingress: everyone's", ports=(port.HTTPS,)),
            Opening(why="metrics of ingress and service", ports=(*monitoring, port.INGRESS_METRICS), sources=ops),
        ]
    if nodes := tuple(node.name for node in estate.nodes_at(host.at) if host.kind is HostRole.KUBE):
        if estate.is_control_plane(host):
            ports = (port.KUBERNETES_API, port.IMAGE_REGISTRY)
            found.append(
                Opening(why="Kubernetes' API and the image registry: the site's nodes", ports=ports, sources=nodes)
            )
            found.append(Opening(why="Kubernetes' API: the watchers", ports=ports[:1], sources=ops))
        found.append(Opening(why="kubelet: the API server", ports=(port.KUBELET,), sources=nodes[:1]))
    if host.database:
        found += [
            Opening(
                why="PostgreSQL: services, members, collectors", ports=(port.POSTGRESQL,), sources=(*kube, *data, *ops)
            ),
            Opening(why="Patroni: who is primary", ports=(port.PATRONI,), sources=(*kube, *data, *ops)),
        ]
    if host.etcd_votes:
        found += [
            Opening(why="etcd clients: Patroni, arbiter, collectors", ports=(port.ETCD_CLIENT,), sources=(*data, *ops)),
            Opening(why="etcd members among themselves", ports=(port.ETCD_PEER,), sources=votes),
        ]
    if host.kind is HostRole.OPS:
        found.append(
            Opening(
                why="Prometheus and its prober, for the other sites' watchers",
                ports=(port.PROMETHEUS, port.BLACKBOX_EXPORTER),
                sources=ops,
            )
        )
    return tuple(found)


def server(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return nftables.conf of a host that is not a router."""
    managed = [port.SSH]
    if estate.is_control_plane(host):
        managed += [port.IMAGE_REGISTRY, port.KUBERNETES_API]
    return _file(host, [*_input(estate, _opened(estate, plan, host), managed), *_extra("input_extra")])


def router(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return nftables.conf of an edge."""
    near = bgp.neighbours(estate, plan, host)
    sites = {site.name for site in estate.sites}
    inside = ["lan0", *(n.link for n in near if n.place in sites)]
    outside = [n.link for n in near if n.place not in sites]
    neighbours = (_neighbour(n.link, family, str(address)) for n in near for family, address in n.addresses)
    rules = [*_opened(estate, plan, host), *neighbours]
    chains = [
        _chain(
            "neighbour",
            [f"tcp dport {port.BGP} accept", f"tcp sport {port.BGP} accept", f"udp dport {_set(BFD_PORTS)} accept"],
        ),
        _chain(
            "untracked", ["type filter hook prerouting priority raw; policy accept;", "fib daddr type != local notrack"]
        ),
        _forward(inside, outside),
        _from_peers(estate),
        _to_peers(estate),
        _extra("forward_extra"),
    ]
    return _file(host, [*_input(estate, rules), *_extra("input_extra"), *(line for chain in chains for line in chain)])


def _neighbour(link: str, family: int, address: str) -> str:
    """Return the rule for packets that the router at the far end sends itself.

    A packet that has crossed another router first has a smaller TTL.
    """
    fields = ("ip saddr", "ip ttl") if family == 4 else ("ip6 saddr", "ip6 hoplimit")
    return f'iifname "{link}" {fields[0]} {address} {fields[1]} 255 jump neighbour'


def _forward(inside: list[str], outside: list[str]) -> list[str]:
    return _chain(
        "forward",
        [
            "type filter hook forward priority filter; policy drop;",
            "# The management network is never routed.",
            'iifname "mgmt0" counter drop',
            'oifname "mgmt0" counter drop',
            f'iifname {_quoted(outside)} oifname {_quoted(outside)} counter drop comment "no transit between peers"',
            f"iifname {_quoted(outside)} jump from_peers",
            f"oifname {_quoted(outside)} jump to_peers",
            "# One network: our hosts filter for themselves.",
            f"iifname {_quoted(inside)} oifname {_quoted(inside)} accept",
            "jump forward_extra",
            "counter drop",
        ],
    )


def _from_peers(estate: Estate) -> list[str]:
    networks = estate.networks
    ours = [networks.sites, networks.links, networks.loopbacks, networks.management, networks.services]
    v4, v6 = _set(str(pool.ipv4) for pool in ours), _set(str(pool.ipv6) for pool in ours)
    services = networks.services
    rules = [
        f'ip saddr {v4} counter drop comment "our addresses do not come from outside"',
        f'ip6 saddr {v6} counter drop comment "our addresses do not come from outside"',
        f"ip daddr {services.ipv4} tcp dport 443 accept",
        f"ip6 daddr {services.ipv6} tcp dport 443 accept",
        f"ip daddr {services.ipv4} icmp type {{ {_PING} }} accept",
        f"ip6 daddr {services.ipv6} icmpv6 type {{ {_PING6} }} accept",
    ]
    return _chain("from_peers", rules)


def _to_peers(estate: Estate) -> list[str]:
    services = estate.networks.services
    rules = [
        f"ip saddr {services.ipv4} tcp sport 443 accept",
        f"ip6 saddr {services.ipv6} tcp sport 443 accept",
        f"ip saddr {services.ipv4} icmp type {{ {_PING} }} accept",
        f"ip6 saddr {services.ipv6} icmpv6 type {{ {_PING6} }} accept",
    ]
    return _chain("to_peers", rules)


def _input(estate: Estate, rules: Iterable[str], managed: Iterable[int] = (22,)) -> list[str]:
    management = estate.networks.management
    numbers = [str(port) for port in managed]
    ports = _set(numbers) if len(numbers) > 1 else numbers[0]
    head = [
        "type filter hook input priority filter; policy drop;",
        'iifname "lo" accept',
        'iifname "mgmt0" jump management',
        "ct state established,related accept",
        "meta l4proto { icmp, ipv6-icmp } accept",
    ]
    tail = [
        "jump input_extra",
        "# A flow that another city began is answered at once, so that the client tries again without waiting.",
        "meta l4proto tcp ct state invalid reject with tcp reset",
        "counter drop",
    ]
    access = [
        "ct state established,related accept",
        "meta l4proto { icmp, ipv6-icmp } accept",
        f"ip saddr {management.ipv4} tcp dport {ports} accept",
        f"ip6 saddr {management.ipv6} tcp dport {ports} accept",
        "counter drop",
    ]
    return [*_chain("management", access), *_chain("input", [*head, *rules, *tail])]


def _opened(estate: Estate, plan: AddressPlan, host: Host) -> list[str]:
    return [line for opening in openings(estate, host) for line in _opening(plan, opening)]


def _opening(plan: AddressPlan, opening: Opening) -> list[str]:
    ports = f"tcp dport {_set(str(port) for port in opening.ports)} accept"
    found = [f"# {opening.why}"]
    if not opening.sources:
        return [*found, ports]
    addresses = [plan.lan(name) for name in opening.sources]
    found.append(f"ip saddr {_set(str(a.ipv4) for a in addresses)} {ports}")
    found.append(f"ip6 saddr {_set(str(a.ipv6) for a in addresses)} {ports}")
    return found


def _names(estate: Estate, kind: HostRole) -> tuple[str, ...]:
    return tuple(host.name for host in estate.managed_hosts if host.kind is kind)


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(dict.fromkeys(items)) + " }"


def _quoted(names: Iterable[str]) -> str:
    return _set(f'"{name}"' for name in names)


def _extra(name: str) -> list[str]:
    return _chain(name, ["# filled by fragments"])


def _chain(name: str, rules: list[str]) -> list[str]:
    return [f"    chain {name} {{", *(f"        {rule}" for rule in rules), "    }", ""]


def _file(host: Host, chains: list[str]) -> str:
    """Return the whole ruleset of our one table. nft replaces it in one transaction."""
    body = "\n".join(chains).rstrip()
    return (
        "#!/usr/sbin/nft -f\n"
        + header_comment("Packet filter", host.name)
        + f"\ntable {TABLE}\ndelete table {TABLE}\n\ntable {TABLE} {{\n{body}\n}}\n\n"
        + f'include "{FRAGMENTS}/*.nft"\n'
    )
