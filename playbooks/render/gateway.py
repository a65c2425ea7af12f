"""The gateway of a bureau: HAProxy in pods, which ends TLS and leads each request on by the host name that it asks for.

A pod listens where everybody may, and needs nothing of its node. Where the routes lead is known when this is rendered:
there is no name service in a cluster, so a route has the fixed address of its Service.
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
"""Debian's package, and the image that is made of it."""
CONFIG_FILE = "/etc/haproxy/haproxy.cfg"
BUNDLE_FILE = "/etc/haproxy/host.pem"
COMMAND = ("/usr/sbin/haproxy", "-db", "-f", CONFIG_FILE)
PORT, PROXIED_PORT, OBSERVED_PORT = 8443, 8444, 8405
"""For requests; for those that a site's ingress hands on, with the citizen's address before them; for observers."""
HEALTH, READY = "/healthz", "/readyz"
"""Whether a pod can end TLS, and whether it also has somewhere to lead requests on to."""
CONNECTIONS = 400
"""Of one pod at once: each takes 50 KiB, and as much again of what the kernel counts as the pod's memory."""
ENDS_WITHIN_S = 10
"""A pod that ends finishes what it has begun; then it is over, whoever is still connected."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """A host name, and where in the cluster its requests go."""

    host: str
    service: str
    address: str
    port: int


def refuse_hosts(hosts: Iterable[str]) -> None:
    """ValueError for a name that DNS refuses, and for one that stands twice: no request could tell its routes apart."""
    for host, count in Counter(hosts).items():
        if len(host) > 253 or not re.fullmatch(HOST_NAME, host):
            raise ValueError(f"{host!r} is no host name; use lower-case letters, digits and hyphens between dots")
        if count > 1:
            raise ValueError(f"there are {count} routes of {host}; keep one")


def config_text(name: str, routes: Sequence[Route], ingress: Sequence[str] = ()) -> str:
    """The whole configuration. `ingress`: the addresses from which a site's ingress hands requests on, if one does.

    Raises ValueError for host names that cannot be.
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
    """In capitals, so that no request has its name: a host is looked up in small letters."""
    return f"WATCH-{route.host}"


def _watched(route: Route) -> str:
    """Beside the route of the requests, which stays open whatever a look at it finds."""
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
