"""The only package that reads the state of the running estate.

It connects to all hosts over ssh at the same time. On each host one small script answers all queries. An unreachable
host is part of the observation. The primary, the announced routes and the replication lag are never stored: callers
observe them, once with `snapshot` or continuously with `Watch`.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from estate.model import Estate
from monitors.observe.model import Observation
from monitors.observe.watch import PollSettings, Watch, once
from workstation import ssh

__all__ = ["Observation", "PollSettings", "Watch", "snapshot"]


def snapshot(
    estate: Estate, access: ssh.Access, *, timeout_s: float, hosts: Collection[str] | None = None
) -> Observation:
    """Observe all hosts that answer queries, or only `hosts`, once and within `timeout_s` seconds.

    All queries are sent after the call, so no reply is older. A host that does not answer never raises an error.
    """
    at, begun = time.time(), time.monotonic()
    with Watch(estate, access, hosts=hosts, settings=once(timeout_s)) as watch:
        return replace(watch.snapshot(), at=at, took_s=time.monotonic() - begun)
