"""When a site's own pods answer again, asked by the site's own node.

The node asks at the service's fixed address in its cluster, where nothing but the site's own pods can answer: ingress,
routes and the other sites have no part in the figure. The cluster's own word would not do: after a loss of power its
API server tells what was so before, until the kubelet has looked.

The node asks by itself for some seconds at a time, so that one login serves a dozen questions: a machine that boots has
no processor to spare for a login each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from estate.addressing import plan
from estate.model import Estate, Service
from failover.protocols import Clock, Machines
from playbooks.render.approval import PORT
from workstation.errors import GovcloudError

ANSWER_S, PAUSE_S = 0.5, 0.25
"""How long a question may take, and the pause after it: together the figure's resolution, well under a second,
but between two turns, where a login comes on top."""
PROBE_RUN_S = 5.0
"""The node asks for so long at a time. A drill that ends does not wait longer for it than this and a login."""
LOGIN_S = 5.0
LOOP = f'until curl -sf -o /dev/null --noproxy "*" -m {ANSWER_S:g} "$1"; do sleep {PAUSE_S:g}; done'


@dataclass(frozen=True, kw_only=True)
class PodProbe:
    """The node that asks, and the address (URL) at which it does."""

    host: str
    url: str

    @property
    def argv(self) -> list[str]:
        """Ends with 0 at the first answer, and with another code when none has come within `PROBE_RUN_S`."""
        return ["timeout", f"{PROBE_RUN_S:g}", "sh", "-c", LOOP, "sh", self.url]


def pod_probe(estate: Estate, service: Service, site: str) -> PodProbe | None:
    """Who asks the service's pods at the site; None where it has none."""
    nodes = estate.nodes_at(site)
    if not nodes or not service.pods.replicas.get(site):
        return None
    address = plan(estate).service_cluster_ip(site, service.name).ipv4
    return PodProbe(host=nodes[0].name, url=f"http://{address}:{PORT}/healthz")


def wait_for_first_answer(
    probe: PodProbe, machines: Machines, clock: Clock, given_up: Callable[[], bool]
) -> float | None:
    """When the pods first answered, in seconds since 1970 by our clock; None when nobody wants to know any more. A node
    that is dark or still boots is asked again."""
    while not given_up():
        try:
            if machines.run(probe.host, probe.argv, timeout_s=PROBE_RUN_S + LOGIN_S).returncode == 0:
                return clock.wall()
        except GovcloudError:
            pass
        clock.wait(PAUSE_S)
    return None


class PodReadinessTimer:
    """The pods of a site whose power returns. A context manager: after it no thread is left, answered or not."""

    def __init__(self, probe: PodProbe | None, machines: Machines, clock: Clock) -> None:
        self._probe, self._machines, self._clock = probe, machines, clock
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None
        self.answered_wall: float | None = None
        """When they first answered, in seconds since 1970; None until then."""

    def begin(self) -> None:
        """Asks from now on, beside whatever the caller does. Nothing is asked where the site has no pods."""
        if self._probe is not None:
            self._thread = threading.Thread(target=self._await, args=(self._probe,), name=f"pods {self._probe.host}")
            self._thread.start()

    def __enter__(self) -> PodReadinessTimer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._given_up.set()
        if self._thread:
            self._thread.join()

    def _await(self, probe: PodProbe) -> None:
        self.answered_wall = wait_for_first_answer(probe, self._machines, self._clock, self._given_up.is_set)
