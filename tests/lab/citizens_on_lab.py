"""A load of citizens' applications while a test acts on the estate. Every request must be answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from failover.drills.runner import RATE_PER_S, endpoint_of
from failover.ledger import Ledger, parse
from failover.protocols import SystemClock
from failover.vantage import LoadProfile, RemoteLoadGenerator
from operations import adapters
from tests.lab.estate_on_lab import Hosts
from tests.lab.pods_on_lab import SERVICE
from tests.polling import until

STEADY = 100
"""Requests before the test's action, and again after it."""


@dataclass
class Load:
    """A load on the estate. `ledger` is None until the load has ended."""

    ledger: Ledger | None = None


@contextmanager
def applying(hosts: Hosts) -> Iterator[Load]:
    """Send a drill's load from the internet. Assert that each request was answered at the first attempt."""
    load = Load()
    estate = hosts.lab.estate
    machines, clock, service = adapters.machines(estate), SystemClock(), estate.service(SERVICE)
    load_generator = RemoteLoadGenerator(machines, clock, host="citizen1", run_id=f"lab-{int(time.time())}")
    endpoint = endpoint_of(estate, service, machines)
    load_generator.start(
        estate=estate,
        endpoint=endpoint,
        load=LoadProfile(rate_per_s=RATE_PER_S, drain_s=10),
        seed=time.time_ns() // 1_000_000,
    )
    try:
        answered(load_generator, STEADY)
        yield load
        answered(load_generator, STEADY)
    finally:
        ended = load_generator.stop(within_s=30)
        ledger = load.ledger = parse(load_generator.ledger())
        load_generator.remove()
    assert ended
    failed = [entry for entry in ledger.entries if not entry.first_acknowledged]
    assert not failed, f"{len(failed)} of {len(ledger.entries)} were not answered at once: {failed[:3]}"
    assert {site for entry in ledger.entries if (site := entry.attempts[0].site)} <= {"futian", "nanshan"}


def answered(load_generator: RemoteLoadGenerator, more: int) -> Ledger:
    """Wait for `more` further requests. Return the ledger so far."""
    before = len(parse(load_generator.ledger()).entries)
    until(f"{more} more requests", lambda: len(parse(load_generator.ledger()).entries) >= before + more, more)
    return parse(load_generator.ledger())
