"""Load test: sends requests at a fixed rate while an action runs on the estate, and evaluates every request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from estate.model import Estate
from failover.drills.runner import endpoint_of
from failover.ledger import Entry, compare, compute_metrics, parse, parse_rows
from failover.measured_service import measured_service, primary_rows
from failover.protocols import Clock, SystemClock
from failover.vantage import LoadProfile, RemoteLoadGenerator
from operations import adapters

Act = Callable[[RemoteLoadGenerator, Clock], None]
"""The action under load. The load ends when it returns or raises."""
FAILURES_REPORTED = 20


def run_load_test(estate: Estate, load: LoadProfile, act: Act) -> dict[str, Any]:
    """Run the load from the citizens' vantage and compare the ledger with the database at the end.

    Latency is in ms as citizens see it. `failed` counts the requests whose first attempt was not acknowledged, also if
    a retry succeeded. `failures` describes the first `FAILURES_REPORTED` of them.
    """
    machines, clock = adapters.machines(estate), SystemClock()
    service, host = measured_service(estate)
    load_generator = RemoteLoadGenerator(machines, clock, host=host, run_id=f"bench-{int(time.time())}")
    endpoint = endpoint_of(estate, service, machines)
    try:
        load_generator.start(estate=estate, endpoint=endpoint, load=load, seed=time.time_ns() // 1_000_000)
        act(load_generator, clock)
        load_generator.stop(within_s=load.drain_s)
        ledger = parse(load_generator.ledger())
    finally:
        load_generator.end()
        load_generator.remove()
    _, rows = primary_rows(service, adapters.observer(estate), machines)
    failed = [entry for entry in ledger.entries if not entry.first_acknowledged]
    found, seen = compare(ledger, parse_rows(rows)), compute_metrics(ledger)
    latency = {f"write_{key}": value for key, value in asdict(seen.write_latency).items() if value is not None}
    latency |= {f"read_{key}": value for key, value in asdict(seen.read_latency).items() if value is not None}
    return {
        "rate_per_s": load.rate_per_s, "reads_per_s": load.rate_per_s if load.reads else 0.0,
        "seconds": seen.duration_s, "acknowledged": seen.acknowledged, "refused": seen.refused,
        "unknown": seen.unknown, "failed": len(failed),
        "failures": [failure(entry) for entry in failed[:FAILURES_REPORTED]],
        "lost": len(found.lost), "duplicated": len(found.duplicated),
        "lateness_p99_ms": seen.lateness_p99_ms, **latency,
    }  # fmt: skip


def failure(entry: Entry) -> dict[str, Any]:
    """Return the first attempt of a request (time, answer, error) and the number of all attempts."""
    if not entry.attempts:
        return {"scheduled_s": entry.scheduled_s, "attempts": 0}
    first = entry.attempts[0]
    fields = {key: getattr(first, key) for key in ("sent_s", "answered_s", "status", "code", "error", "site")}
    return {key: value for key, value in fields.items() if value is not None} | {"attempts": len(entry.attempts)}
