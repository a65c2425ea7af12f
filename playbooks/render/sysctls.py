"""Kernel settings of the network for each kind of host. They are all `net.*`, which every platform lets a machine
set."""

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
    # Flows are distributed by their ports, so that one citizen's connections use both city sites.
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
    # An answer may leave through another site than its request came in. So refuse only sources without any route.
    "net.ipv4.conf.all.rp_filter": "2",
}
_HOST = {"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0", "net.ipv4.conf.all.rp_filter": "1"}
_NODE = {
    # Between pods and other hosts. The packet filter drops all other forwarded traffic.
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
}
_ANYCAST = {
    # Do not answer ARP on the segment for the services' addresses on lo: only the router's route leads to them.
    "net.ipv4.conf.all.arp_ignore": "1",
    "net.ipv4.conf.all.arp_announce": "2",
}


def of(estate: Estate, host: Host) -> dict[str, str]:
    """Return the settings of the host, sorted by key."""
    wanted = _COMMON | (_ROUTER if is_router(host) else _HOST) | (_ANYCAST if host.kind is HostRole.KUBE else {})
    if host in estate.nodes_at(host.at):
        wanted |= _NODE
    return dict(sorted(wanted.items()))
