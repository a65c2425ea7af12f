"""The gateway of a bureau: HAProxy in pods. It terminates TLS and forwards each request by its host name.

A pod listens on unprivileged ports and needs nothing of its node. The destinations are known at rendering: a cluster
has no name service, so a route contains the fixed address of its Service.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from estate.field_types import HOST_NAME
from playbooks.render import haproxy

IMAGE = "haproxy"
"""Debian's package, and the image that is built from it."""
CONFIG_FILE = "/etc/haproxy/haproxy.cfg"
BUNDLE_FILE = "/etc/haproxy/host.pem"
COMMAND = ("/usr/sbin/haproxy", "-db", "-f", CONFIG_FILE)
PORT, PROXIED_PORT, OBSERVED_PORT = 8443, 8444, 8405
"""Ports for requests, for requests that a site's ingress forwards with the citizen's address in a PROXY header, and for
monitoring."""
HEALTH, READY = "/healthz", "/readyz"
"""Paths that answer whether a pod can terminate TLS, and whether it also has a destination for requests."""
CONNECTIONS = 400
"""Limit of simultaneous connections of one pod. Each uses 50 KiB, and as much kernel memory that counts as the
pod's."""
ENDS_WITHIN_S = 10
"""A stopping pod finishes its running requests. After this time it closes all remaining connections."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """A host name, and the destination of its requests in the cluster."""

    host: str
    service: str
    address: str
    port: int


def refuse_hosts(hosts: Iterable[str]) -> None:
    """Raise ValueError for a name that DNS refuses, and for a duplicate.

    A request could not be assigned to one of two routes with the same name.
    """
    for host, count in Counter(hosts).items():
        if len(host) > 253 or not re.fullmatch(HOST_NAME, host):
            raise ValueError(f"{host!r} is no host name; use lower-case letters, digits and hyphens between dots")
        if count > 1:
            raise ValueError(f"there are {count} routes of {host}; keep one")


def config_text(name: str, routes: Sequence[Route], ingress: Sequence[str] = ()) -> str:
    """Return the whole configuration. `ingress` are the addresses of a site's ingress, if one forwards requests.

    Raise ValueError for invalid host names.
    """
    refuse_hosts(route.host for route in routes)
    parts = [_head(name), haproxy.DEFAULTS, _requests(ingress), _observed(routes), *map(_backend, routes), _unknown()]
    return "\n".join([*parts, *map(_watched, routes)])


def _head(name: str) -> str:
    return f"""\
# Gateway {name}. Written by govcloud: the next `govcloud up` restores it.
global
    log stdout format raw daemon notice
    nbthread 1
    maxconn {CONNECTIONS}
    hard-stop-after {ENDS_WITHIN_S}s
{haproxy.TLS}"""


def _requests(ingress: Sequence[str]) -> str:
    tls = f"v4v6 ssl crt {BUNDLE_FILE} alpn h2,http/1.1"
    proxied = (
        f"""\
    # From a site's ingress, which says who the citizen is (PROXY protocol); whoever else says so is not believed.
    bind :::{PROXIED_PORT} {tls} accept-proxy
    tcp-request connection reject if {{ dst_port {PROXIED_PORT} }} !{{ src {" ".join(ingress)} }}
"""
        if ingress
        else ""
    )
    return f"""\
frontend requests
    mode http
    bind :::{PORT} {tls}
{proxied}\
    # A pod that ends says so in its answers; whoever is idle is not cut off in the moment in which they ask again.
    option idle-close-on-response
    timeout http-keep-alive 5s
    # A request is gathered here first, so that it can be sent once more, and slow senders take no place in a pod.
    option http-buffer-request
    http-request set-header X-Forwarded-For %[src]
{haproxy.ENDED_HERE}\
    # A backend has the name of its host; there is none of any other.
    use_backend %[req.hdr(host),host_only,lower]
    default_backend unknown
"""


def _observed(routes: Sequence[Route]) -> str:
    leads = "\n".join(
        f"    http-request return status 200 if {{ path {READY} }} {{ nbsrv({_watch(route)}) ge 1 }}"
        for route in routes
    )
    return f"""\
frontend observed
    mode http
    bind :::{OBSERVED_PORT} v4v6
    monitor-uri {HEALTH}
    # Ready where any host has pods that take a connection; the others' callers are told.
{leads}
    http-request deny deny_status 503 if {{ path {READY} }}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request deny deny_status 404
"""


def _backend(route: Route) -> str:
    zh, en = "该服务暂时无法办理，请稍后重试。", "This service cannot answer now. Retry."
    down = "".join(
        f"    http-error {haproxy.saying(status, 'service_down', zh, en)} hdr Retry-After 1\n"
        for status in (502, 503, 504)
    )
    return f"""\
backend {route.host}
    mode http
    # Each request by a connection of its own: every pod is asked in its turn, and none has just closed it.
    http-reuse never
    option http-server-close
    # What may have been done already is not asked for twice; that nobody has taken is tried again in any case.
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS }}
{haproxy.RETRY}{down}\
    server {route.service} {_socket(route.address, route.port)}
"""


def _watch(route: Route) -> str:
    """Return the name of a route's monitoring backend.

    It is in capitals, so that no request matches it: hosts are looked up in small letters.
    """
    return f"WATCH-{route.host}"


def _watched(route: Route) -> str:
    """Return a backend that only monitors the route. The backend for requests stays open whatever these checks find."""
    return f"""\
backend {_watch(route)}
    mode tcp
    server {route.service} {_socket(route.address, route.port)} check inter 1s fall 3 rise 1
"""


def _unknown() -> str:
    said = haproxy.saying(404, "host_unknown", "没有这个网站。", "There is no such host here.")
    return f"backend unknown\n    mode http\n    http-request return {said}\n"


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"
