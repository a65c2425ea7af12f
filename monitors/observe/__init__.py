"""The only package that reads the state of the running estate, its Kubernetes clusters included.

It connects to all hosts over ssh at the same time. On each host one small script answers all queries. An unreachable
host is part of the observation. The primary, the announced routes and the replication lag are never stored: callers
observe them, once with `snapshot` or continuously with `Watch`. A decision about data needs a `snapshot`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from estate.model import Estate
from monitors.collectors import Observation
from monitors.observe.watch import PollSettings, Watch, once
from workstation import ssh

__all__ = ["EstateObserver", "Observation", "PollSettings", "Watch", "snapshot"]

logger = logging.getLogger(__name__)
OBSERVE_TIMEOUT_S = 8.0
"""The hosts of a powered-off site never answer. An observation does not wait for them longer than this."""


def snapshot(
    estate: Estate,
    access: ssh.Access,
    *,
    timeout_s: float = OBSERVE_TIMEOUT_S,
    hosts: Collection[str] | None = None,
    tenants: bool = False,
) -> Observation:
    """Observe all hosts that answer queries, or only `hosts`, once and within `timeout_s` seconds.

    All queries are sent after the call, so no reply is older. A host that does not answer never raises an error. With
    `tenants` the bureaus' own Deployments are read too.
    """
    at, begun = time.time(), time.monotonic()
    with Watch(estate, access, hosts=hosts, settings=once(timeout_s, tenants=tenants)) as watch:
        seen = replace(watch.latest(), at=at, took_s=time.monotonic() - begun)
    logger.debug("observed the estate in %.2f s", seen.took_s)
    return seen


@dataclass(frozen=True)
class EstateObserver:
    """Observes one estate. Drills, moves and upgrades receive it as `failover.protocols.Observer`."""

    estate: Estate
    access: ssh.Access
    tenants: bool = False
    """Snapshots also read the bureaus' own Deployments."""

    def snapshot(self) -> Observation:
        """Observe every host once, see `snapshot`."""
        return snapshot(self.estate, self.access, tenants=self.tenants)

    def watch(self) -> Watch:
        """Return a context manager that observes every host continuously."""
        return Watch(self.estate, self.access)
