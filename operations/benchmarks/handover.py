"""`bench` of a service that sends messages: how soon a decision reaches the carrier, and which messages never do.

The load is applications of the test population, which only a lab with a simulated carrier has. The simulator is the
only route there, so these messages are not suppressed. The service's own rows are matched with the messages that the
simulator has accepted.

A decision and its arrival get their times from two machines. All machines of a lab share the clock of one kernel, so
the difference needs no correction. A decision has the time at which the statement began that stores it. So the handover
contains the wait of that commit for another site.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from estate.model import Estate
from failover.ledger import Unreadable
from failover.ledger.metrics import percentile
from failover.measured_service import handover_rows, primary_rows
from failover.protocols import Clock, Machines, SystemClock
from failover.vantage import LoadProfile
from operations import adapters
from operations.benchmarks import load_test
from playbooks.render import carrier
from workstation.errors import GovcloudError, Refused

RATE_PER_S, SECONDS = 20.0, 60.0
"""The load without other options. Each message costs two requests more than its application: to the carrier, and the
receipt over TLS. So the rate is below that of `bench approvals`."""
SETTLED_WITHIN_S = 60.0
"""Longest wait after the load until no message is sent again. It is longer than the lease of an interrupted attempt."""
POLL_S = 2.0
OUTLIERS = 20
HEADER = ["key", "message", "decided_s", "pending"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A stored decision. `message` is the ID of its message, or empty if the service has not taken it over.

    `decided_s` is in seconds since 1970. While the message is `pending`, the service may send it, also again.
    """

    key: str
    message: str
    decided_s: float
    pending: bool


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A message that the carrier has accepted, with the time in seconds since 1970."""

    message: str
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Handovers:
    """The matched decisions of one run, by the key of their request.

    `decided_s` has all decisions, and `handover_ms` only those with a message at the carrier. `repeated` counts the
    messages that the carrier has accepted after the first one about the same decision.
    """

    decided_s: dict[str, float]
    handover_ms: dict[str, float]
    repeated: int
    pending: int


def parse_decisions(text: str) -> tuple[Decision, ...]:
    """Parse CSV with the columns of `HEADER`. Raises Unreadable with the line's number."""
    reader = csv.reader(io.StringIO(text))
    if next(reader, None) != HEADER:
        raise Unreadable(f"the rows of the messages must begin with the header {','.join(HEADER)}")
    found = []
    for number, fields in enumerate(reader, start=2):
        try:
            key, message, decided, pending = fields
            found.append(Decision(key=key, message=message, decided_s=float(decided), pending=pending == "t"))
        except ValueError as error:
            raise Unreadable(f"the rows of the messages, line {number}: {error}") from None
    return tuple(found)


def parse_arrivals(text: str) -> tuple[Arrival, ...]:
    """Parse the carrier's record: a JSON object with `message_id` and `at` on each line."""
    entries = (json.loads(line) for line in text.split("\n") if line)
    return tuple(Arrival(message=entry["message_id"], at_s=entry["at"]) for entry in entries)


def match(decisions: Iterable[Decision], arrivals: Iterable[Arrival], keys: Collection[str]) -> Handovers:
    """Match the decisions with these keys with the arrivals of their messages. Pure.

    Other decisions and other messages belong to other runs.
    """
    accepted: dict[str, list[float]] = {}
    for arrival in arrivals:
        accepted.setdefault(arrival.message, []).append(arrival.at_s)
    own: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.key in keys:
            own.setdefault(decision.key, []).append(decision)
    times = {key: sorted(at for row in rows for at in accepted.get(row.message, ())) for key, rows in own.items()}
    decided = {key: rows[0].decided_s for key, rows in own.items()}
    return Handovers(
        decided_s=decided,
        handover_ms={key: round(1000 * (at[0] - decided[key]), 2) for key, at in times.items() if at},
        repeated=sum(len(at) - 1 for at in times.values() if at),
        pending=sum(row.pending for rows in own.values() for row in rows),
    )


def figures(found: Handovers) -> dict[str, Any]:
    """Return the figures of a run. Percentiles are by nearest rank, and absent without any message at the carrier.

    `outliers` describes the missing decisions, then the slowest ones, at most `OUTLIERS`.
    """
    waits = found.handover_ms
    ordered = sorted(waits.values())
    by_wait = sorted(found.decided_s, key=lambda key: (key in waits, -waits.get(key, 0.0)))[:OUTLIERS]
    percentiles = {
        "handover_p50_ms": percentile(ordered, 50),
        "handover_p99_ms": percentile(ordered, 99),
        "handover_max_ms": percentile(ordered, 100),
    }
    return {
        "decided": len(found.decided_s), "accepted": len(waits), "missing": len(found.decided_s) - len(waits),
        "repeated": found.repeated, "pending": found.pending,
        **{figure: value for figure, value in percentiles.items() if value is not None},
        "outliers": [
            {"key": key, "decided_s": found.decided_s[key], "handover_ms": waits.get(key)} for key in by_wait
        ],
    }  # fmt: skip


def load_profile(rate: float | None, seconds: float | None) -> LoadProfile:
    """Return the load: writes whose people get a message. None stands for the bench's own value."""
    return LoadProfile(rate_per_s=rate or RATE_PER_S, limit_s=seconds or SECONDS, reads=False, recipients=True)


def handover(estate: Estate, name: str, load: LoadProfile) -> dict[str, Any]:
    """Send the load, wait until no message of it is pending, and return the figures with their goals.

    Runs where the hosts are reachable. Raises Refused before the load if no carrier is simulated, and GovcloudError if
    the simulator does not work normally or cannot be read.
    """
    service, machines = estate.service(name), adapters.machines(estate)
    simulator = Simulator(estate, machines)
    simulator.check()
    ledger = load_test.send(estate, load, load_test.until_sent(load))
    keys = {entry.key for entry in ledger.of("write")}
    rows, observer = handover_rows(service), adapters.observer(estate)

    def observe() -> Handovers:
        _, stored = primary_rows(rows, observer, machines)
        return match(parse_decisions(stored), parse_arrivals(simulator.get("/accepted")), keys)

    found = settled(observe, SystemClock())
    goals = {"missing": 0, "repeated": 0, "handover_p99_ms": service.objectives.latency_p99_ms}
    return load_test.evaluated(estate, load, ledger) | figures(found) | {"goals": goals}


def settled(observe: Callable[[], Handovers], clock: Clock) -> Handovers:
    """Return the handovers as soon as no message is pending, or the last ones after `SETTLED_WITHIN_S`."""
    end = clock.monotonic() + SETTLED_WITHIN_S
    while (found := observe()).pending and clock.monotonic() < end:
        clock.wait(POLL_S)
    return found


class Simulator:
    """The simulated carrier's address for tests. Raises Refused if the estate has no test population."""

    def __init__(self, estate: Estate, machines: Machines) -> None:
        declared = estate.carrier
        if not (declared and declared.simulated_on and carrier.population(estate)):
            raise Refused(
                "no carrier with a test population is simulated here, and no other synthetic person gets a message",
                "run it in a lab whose `carrier` declares simulated_on and deliver_synthetic",
            )
        self._host, self._machines = declared.simulated_on, machines

    def get(self, path: str) -> str:
        """Return the document at the path. Raises GovcloudError if the simulator does not answer."""
        done = self._machines.run(self._host, ["curl", "-fsS", "--max-time", "20", f"http://{carrier.CONTROL}{path}"])
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise GovcloudError(
                f"the simulated carrier on {self._host} does not answer: {reason}",
                f"on it: systemctl status {carrier.UNIT}",
            )
        return done.stdout.decode()

    def check(self) -> None:
        """Raise GovcloudError if a test has left the simulator in another mode. Its figures would not be ours."""
        mode = json.loads(self.get("/stats"))["mode"]
        if mode != "normal":
            repair = f'on it: curl -X PUT -d \'{{"mode": "normal"}}\' http://{carrier.CONTROL}/mode'
            raise GovcloudError(f"the simulated carrier on {self._host} is in the mode {mode!r}", repair)
