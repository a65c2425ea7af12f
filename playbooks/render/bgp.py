"""Parts shared by all BGP routers: neighbours, prefix lists of both families, and sections of an frr.conf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from estate.addressing import AddressPlan
from estate.model import Estate, Host, Pool
from playbooks.host_spec import File
from playbooks.render.text import header_comment, join_lines

BFD_INTERVAL_MS = 300
BFD_MULTIPLIER = 3
KEEPALIVE_S, HOLD_S, CONNECT_S = 3, 9, 5
"""These timers find a dead neighbour only if its BFD is not up. BFD is faster."""

Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The router at the other end of a link. `place` is its site or peer."""

    link: str
    router: str
    place: str
    asn: int
    ipv4: IPv4Address
    ipv6: IPv6Address

    @property
    def addresses(self) -> tuple[tuple[int, IPv4Address | IPv6Address], ...]:
        """Pairs of (family, address). Each family has a session of its own."""
        return ((4, self.ipv4), (6, self.ipv6))


def neighbours(estate: Estate, plan: AddressPlan, host: Host) -> tuple[Neighbour, ...]:
    """Return the host's neighbours, by its links in declared order."""
    found = []
    for link in estate.links_of(host.name):
        far = next(end for end in link.ends if end != host.name)
        interface = plan.hosts[far].link(link.name)
        found.append(
            Neighbour(
                link=link.name,
                router=far,
                place=estate.host(far).at,
                asn=estate.asn_of(far),
                ipv4=interface.ipv4.ip,
                ipv6=interface.ipv6.ip,
            )
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a prefix list: the prefix itself, or also the prefixes in it of length `ge` to `le`."""

    prefix: Prefix
    ge: int | None = None
    le: int | None = None

    def __str__(self) -> str:
        longest = self.le if self.le != self.prefix.max_prefixlen or not self.ge else None
        return f"{self.prefix}" + (f" ge {self.ge}" if self.ge else "") + (f" le {longest}" if longest else "")


def both(pool: Pool, *, within: tuple[int, int] | None = None) -> list[Entry]:
    """Return the pool's two prefixes. With `within`, return all prefixes in them of these lengths (IPv4, IPv6)."""
    prefixes: tuple[Prefix, Prefix] = (pool.ipv4, pool.ipv6)
    if within is None:
        return [Entry(prefix=prefix) for prefix in prefixes]
    return [Entry(prefix=prefix, ge=length, le=length) for prefix, length in zip(prefixes, within, strict=True)]


def prefix_lists(lists: Mapping[str, tuple[str, Sequence[Entry]]]) -> list[str]:
    """Return the prefix lists by name, each with its meaning. Each name exists in both families."""
    found: list[str] = []
    for name, (meaning, entries) in lists.items():
        found.append(f"! {name}: {meaning}")
        for family, word in ((4, "ip"), (6, "ipv6")):
            own = [entry for entry in entries if entry.prefix.version == family]
            found += [f"{word} prefix-list {name} seq {5 * n} permit {entry}" for n, entry in enumerate(own, start=1)]
        found.append("!")
    return found


NEXT_HOP_THAT_BFD_WATCHES = "ipv6 next-hop prefer-global"
"""Use the neighbour's global address as next hop. BFD keeps the kernel's neighbour entry for this address alive.
Without this setting, routes use the link-local address, whose entry expires if no data flows. While the kernel resolves
it again, the packets of a new connection take another path to another site, which refuses them."""


def clause(
    name: str, action: str, number: int, matching: str, acts: Iterable[str] = (), also: Iterable[str] = ()
) -> list[str]:
    """Return a clause of a route map for both families: `number` for IPv4, `number` + 1 for IPv6."""
    return _clauses(name, action, number, matching, (acts, acts), also)


def accept(name: str, number: int, matching: str, acts: Iterable[str] = (), also: Iterable[str] = ()) -> list[str]:
    """Return a clause as `clause` does, for routes that the router accepts."""
    return _clauses(name, "permit", number, matching, (acts, [*acts, NEXT_HOP_THAT_BFD_WATCHES]), also)


def _clauses(
    name: str, action: str, number: int, matching: str, acts: tuple[Iterable[str], Iterable[str]], also: Iterable[str]
) -> list[str]:
    found = []
    for offset, word in ((0, "ip"), (1, "ipv6")):
        found += [
            f"route-map {name} {action} {number + offset}",
            f" match {word} address prefix-list {matching}",
            *(f" match {text}" for text in also),
            *(f" set {text}" for text in acts[offset]),
            "exit",
            "!",
        ]
    return found


def head(what: str, host: Host) -> list[str]:
    """Return the beginning of an frr.conf, with the BFD timers that detect a dead neighbour."""
    return [
        *header_comment(what, host.name, comment="!").splitlines(),
        "!",
        "frr defaults traditional",
        f"hostname {host.name}",
        "log syslog informational",
        "service integrated-vtysh-config",
        "!",
        "bfd",
        " profile wire",
        f"  detect-multiplier {BFD_MULTIPLIER}",
        f"  transmit-interval {BFD_INTERVAL_MS}",
        f"  receive-interval {BFD_INTERVAL_MS}",
        " exit",
        "exit",
        "!",
    ]


def instance(asn: int, router_id: IPv4Address) -> list[str]:
    """Return the beginning of `router bgp`. Paths of equal length through different ASes are used together."""
    return [
        f"router bgp {asn}",
        f" bgp router-id {router_id}",
        " bgp log-neighbor-changes",
        " no bgp default ipv4-unicast",
        " bgp bestpath as-path multipath-relax",
        f" timers bgp {KEEPALIVE_S} {HOLD_S}",
    ]


def session(neighbour: Neighbour, passwords: Mapping[str, str]) -> list[str]:
    """Return both sessions with a neighbour. They refuse packets that crossed another router first (GTSM)."""
    found = []
    for _, address in neighbour.addresses:
        found += [
            f" neighbor {address} remote-as {neighbour.asn}",
            f" neighbor {address} description {neighbour.router} over {neighbour.link}",
            f" neighbor {address} timers connect {CONNECT_S}",
            f" neighbor {address} ttl-security hops 1",
            f" neighbor {address} bfd",
            f" neighbor {address} bfd profile wire",
        ]
        if neighbour.link in passwords:
            found.append(f" neighbor {address} password {passwords[neighbour.link]}")
    return found


def files(host: Host, config: list[str], *, secret: bool = False) -> tuple[File, ...]:
    """Return frr.conf and the list of daemons."""
    daemons = header_comment("Routing daemons", host.name) + join_lines(
        "bgpd=yes",
        "bfdd=yes",
        "vtysh_enable=yes",
        'zebra_options="  -A 127.0.0.1 -s 90000000"',
        'bgpd_options="   -A 127.0.0.1"',
        'bfdd_options="   -A 127.0.0.1"',
        'staticd_options="-A 127.0.0.1"',
    )
    return (
        File(
            path="/etc/frr/daemons",
            text=daemons,
            owner="frr",
            group="frr",
            mode="0640",
            notify=("restart:frr.service",),
        ),
        File(
            path="/etc/frr/frr.conf",
            text=join_lines(config),
            owner="frr",
            group="frr",
            mode="0640",
            secret=secret,
            validate="/usr/bin/vtysh -C -f %s",
            notify=("reload:frr.service",),
        ),
    )
