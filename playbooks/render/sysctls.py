"""Kernel settings of the network by what a host does. Only `net.*`, which every platform lets a machine set."""

from __future__ import annotations

from estate.addressing import is_router
from estate.model import Estate, Host, HostRole

_COMMON = {
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.default.accept_source_route": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.conf.all.accept_ra": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv6.conf.default.accept_redirects": "0",
}
_ROUTER = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # Flows are spread by their ports, so that one citizen's connections use both cities.
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
    # Answers may leave by another city than the questions came in by: only sources without any route are refused.
    "net.ipv4.conf.all.rp_filter": "2",
}
_HOST = {"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0", "net.ipv4.conf.all.rp_filter": "1"}
_NODE = {
    # Between pods and the rest; the packet filter lets nothing else through.
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
}
_ANYCAST = {
    # The services' addresses on lo are never told on the segment: only the router's route leads to them.
    "net.ipv4.conf.all.arp_ignore": "1",
    "net.ipv4.conf.all.arp_announce": "2",
}


def of(estate: Estate, host: Host) -> dict[str, str]:
    """The settings of the host, by key in order."""
    wanted = _COMMON | (_ROUTER if is_router(host) else _HOST) | (_ANYCAST if host.kind is HostRole.KUBE else {})
    if host in estate.nodes_at(host.at):
        wanted |= _NODE
    return dict(sorted(wanted.items()))
