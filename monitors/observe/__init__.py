"""The only readers of as-is: ssh to every host, all hosts at once, each asked everything by one small script.

What cannot be reached is part of what was seen. Who is primary, what is announced and what lags is never stored:
whoever needs it looks, once with `snapshot` or all the time with `Watch`.
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
    """Look once, within `timeout_s` seconds, at every host that has something to say, or only at `hosts`.

    Everything in it was asked after the call. Never raises because a host does not answer.
    """
    at, begun = time.time(), time.monotonic()
    with Watch(estate, access, hosts=hosts, settings=once(timeout_s)) as watch:
        return replace(watch.snapshot(), at=at, took_s=time.monotonic() - begun)
