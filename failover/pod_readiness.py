"""Measures when a site's own pods answer again after a power loss. The site's own node sends the requests.

The node requests the service's fixed cluster address. Only the site's own pods can answer there, so ingress, routes and
the other sites do not influence the figure. The readiness in the Kubernetes API is not usable: after a power loss the
API server returns the old state until the kubelet has checked the pods.

The node repeats the request for some seconds, so that one login serves a dozen requests. A machine that boots has no
processor time to spare for a login per request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from estate.addressing import plan
from estate.model import Estate, Service
from failover.protocols import Clock, Machines
from workstation.errors import GovcloudError

ANSWER_S, PAUSE_S = 0.5, 0.25
"""Time limit of one request, and the pause after it. Together they are the figure's resolution, well under a second.
Between two runs on the node a login adds to it."""
PROBE_RUN_S = 5.0
"""Duration of one run of requests on the node. A drill that ends waits at most this long plus one login."""
LOGIN_S = 5.0
LOOP = f'until curl -sf -o /dev/null --noproxy "*" -m {ANSWER_S:g} "$1"; do sleep {PAUSE_S:g}; done'


@dataclass(frozen=True, kw_only=True)
class PodProbe:
    """The node that sends the requests, and their URL."""

    host: str
    url: str

    @property
    def argv(self) -> list[str]:
        """The command. It exits with 0 at the first answer, with another code after `PROBE_RUN_S` without an answer."""
        return ["timeout", f"{PROBE_RUN_S:g}", "sh", "-c", LOOP, "sh", self.url]


def pod_probe(estate: Estate, service: Service, site: str) -> PodProbe | None:
    """Return the probe for the service's pods at the site, or None if the site has no pods of it."""
    nodes = estate.nodes_at(site)
    if not nodes or not service.pods.replicas.get(site):
        return None
    address = plan(estate).service_cluster_ip(site, service.name).ipv4
    return PodProbe(host=nodes[0].name, url=f"http://{address}:{service.contract.port}{service.contract.health.live}")


def wait_for_first_answer(
    probe: PodProbe, machines: Machines, clock: Clock, given_up: Callable[[], bool]
) -> float | None:
    """Return when the pods first answered, in seconds since 1970 by our clock, or None after `given_up`.

    A node that is powered off or still boots is tried again.
    """
    while not given_up():
        try:
            if machines.run(probe.host, probe.argv, timeout_s=PROBE_RUN_S + LOGIN_S).returncode == 0:
                return clock.wall()
        except GovcloudError:
            pass
        clock.wait(PAUSE_S)
    return None


class PodReadinessTimer:
    """Measures the pods of a site that is powered on. A context manager: it ends its thread in every case."""

    def __init__(self, probe: PodProbe | None, machines: Machines, clock: Clock) -> None:
        self._probe, self._machines, self._clock = probe, machines, clock
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None
        self.answered_wall: float | None = None
        """When the pods first answered, in seconds since 1970; None until then."""

    def begin(self) -> None:
        """Start the requests in a thread of their own. Does nothing if the site has no pods."""
        if self._probe is not None:
            self._thread = threading.Thread(target=self._await, args=(self._probe,), name=f"pods {self._probe.host}")
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        if self._thread:
            self._thread.join()

    def _await(self, probe: PodProbe) -> None:
        self.answered_wall = wait_for_first_answer(probe, self._machines, self._clock, self._given_up.is_set)
