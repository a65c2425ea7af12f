"""The context of a drill's steps: their checks, actions and recorded data.

Every check returns the empty string if it passes, otherwise a text that names the missing condition.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from estate.model import Estate, Service
from failover.drills.changes import changes
from failover.drills.fault import Fault
from failover.journal import Journal
from failover.ledger import Comparison, compare, compute_metrics, parse, parse_rows
from failover.measured_service import primary_rows
from failover.pod_readiness import PodReadinessTimer
from failover.protocols import Clock, DrillInterfaces, Watch
from failover.result import Event, Evidence
from failover.step import POLL_S
from failover.vantage import Endpoint, LoadGeneratorFailed, LoadProfile, RemoteLoadGenerator
from failover.words import Text
from monitors.collectors import Observation
from monitors.health import problems
from monitors.problem import Problem, Scope
from workstation.errors import GovcloudError

GRACE_S = 0.5
"""Requests up to this long after the recorded injection do not count: the fault may not have begun yet."""
TAIL_EVERY_S = 1.0
"""Each read of the ledger's tail takes processor time from the load generator. An observation takes none."""
HEAL_CHECK_EVERY_S = 1.0
ROWS_WITHIN_S = 60.0
"""The query for the rows is repeated for this long. One failed query must not discard minutes of measurement."""


@dataclass(kw_only=True)
class Facts:
    """What a run has recorded so far. Times are in seconds since 1970, None until the event comes."""

    events: list[Event] = field(default_factory=list)
    injected_wall: float | None = None
    restored_wall: float | None = None
    served_wall: float | None = None
    healthy_wall: float | None = None
    pods_wall: float | None = None
    ledger_started_wall: float = 0.0
    remaining: tuple[Problem, ...] = ()
    ledger_text: str = ""
    rows_text: str = ""

    def evidence(self) -> Evidence:
        """Return the metrics of the collected data. Raises `ledger.Unreadable` if the ledger is damaged."""
        ledger = parse(self.ledger_text)
        compared: Comparison = compare(ledger, parse_rows(self.rows_text))
        return Evidence(ledger=ledger, metrics=compute_metrics(ledger), comparison=compared)


@dataclass(kw_only=True)
class DrillContext:
    """The fault, the interfaces and the facts of one run.

    `hold_s` is the shortest time that the fault stays. It is longer than the lease of a dead primary, so that the drill
    also observes late effects.
    """

    estate: Estate
    service: Service
    fault: Fault
    on: DrillInterfaces
    watch: Watch
    pods: PodReadinessTimer
    journal: Journal
    load_generator: RemoteLoadGenerator
    endpoint: Endpoint
    load: LoadProfile
    seed: int
    hold_s: float
    on_event: Callable[[Event], None]
    facts: Facts = field(default_factory=Facts)
    seen: Observation | None = None
    next_tail: float = 0.0
    next_heal_check: float = 0.0
    unserved: str = ""
    last_tail: str = ""

    @property
    def clock(self) -> Clock:
        """The clock of this run."""
        return self.on.clock

    def say(
        self, code: str, source: str = "drill", subject: str = "", *, detail: str = "", wall: float = 0.0,
        text: Text | None = None,
    ) -> None:  # fmt: skip
        """Record an event and report it."""
        at = wall or self.clock.wall()
        event = Event(wall=at, code=code, source=source, subject=subject, detail=detail, text=text)
        self.facts.events.append(event)
        self.on_event(event)

    def take_observation(self) -> Observation:
        """Return the newest observation and record the changes since the previous one.

        The call is cheap: it reads a value that the watch keeps up to date.
        """
        seen = self.watch.latest()
        if self.seen is not None:
            for change in changes(self.estate, self.seen, seen, link=self.fault.target):
                self.say(change.code, "observer", change.subject, detail=change.detail)
        self.seen = seen
        self.note_pods()
        self.note_self_healed()
        return seen

    def note_pods(self) -> None:
        """Record once when the lost site's own pods answered after the power on."""
        if self.facts.pods_wall is None and self.pods.answered_wall is not None:
            self.facts.pods_wall = self.pods.answered_wall
            self.say("pods_serve", "observer", self.fault.target, wall=self.facts.pods_wall)

    def note_self_healed(self) -> None:
        """Record once when a fault that heals by itself has gone. Asks the host at most once a second."""
        facts = self.facts
        if self.fault.undo or facts.injected_wall is None or facts.restored_wall is not None:
            return
        if self.clock.monotonic() >= self.next_heal_check:
            self.next_heal_check = self.clock.monotonic() + HEAL_CHECK_EVERY_S
            if not self.fault.is_injected(self.on):
                facts.restored_wall = self.clock.wall()
                self.say("healed", "observer", self.fault.target, text=self.fault.words.healed)

    # Checks

    def all_healthy(self) -> str:
        """Check that the estate has no problem in the scope of drills."""
        self.facts.remaining = problems(self.estate, self.take_observation(), Scope.DRILL)
        return "; ".join(map(str, self.facts.remaining))

    def recovered(self) -> str:
        """Check that the estate has no problem after the fault, and record when the check first passes.

        Every part of the observation must be newer than the end of the fault: an older one may not show the fault yet.
        """
        missing = self.all_healthy()
        if not missing and self.seen and self.seen.at < (self.facts.restored_wall or self.facts.injected_wall or 0.0):
            return "an observation after the end of the fault"
        if not missing and self.facts.healthy_wall is None:
            self.facts.healthy_wall = self.clock.wall()
            self.say("all_healthy")
        return missing

    def citizens_served(self, for_s: float = 3.0) -> str:
        """Check that every request of the last seconds succeeded at its first attempt. Only requests after the
        injection count."""
        if self.clock.monotonic() < self.next_tail:
            return self.unserved or "the ledger was read a moment ago"
        facts, self.next_tail = self.facts, self.clock.monotonic() + TAIL_EVERY_S
        tail = self.load_generator.tail(round(self.load.rate_per_s * 2 * (for_s + 8)))
        since = -1.0 if facts.injected_wall is None else facts.injected_wall - facts.ledger_started_wall + GRACE_S
        missing = self.unserved = served(tail, since_s=since, for_s=for_s, rate_per_s=self.load.rate_per_s)
        stopped, self.last_tail = tail == self.last_tail, tail
        if stopped and not self.load_generator.running():
            raise LoadGeneratorFailed("the load generator has ended too early", "see its ledger in the drill's folder")
        return missing

    def service_back(self) -> str:
        """Check that citizens are served again. Neither the drill nor the operator has repaired anything before."""
        self.take_observation()
        missing = self.citizens_served()
        if not missing and self.facts.served_wall is None:
            self.facts.served_wall = self.clock.wall()
            self.say("served_again", "applicant")
        return missing

    def held_long_enough(self) -> str:
        """Check that the fault has been there for `hold_s`."""
        self.take_observation()
        left = self.hold_s - (self.clock.wall() - (self.facts.injected_wall or 0.0))
        return f"{left:.0f} s to go" if left > 0 else ""

    def may_inject(self) -> str:
        """Check that the fault is not there, and that the estate allows it now."""
        if self.fault.is_injected(self.on):
            return f"the fault is there already: {self._injected()}"
        return self.fault.not_now(self.estate, self.on.observer)

    def fault_is_there(self) -> str:
        """Check that the fault is there."""
        return "" if self.fault.is_injected(self.on) else f"not injected: {self._injected()}"

    def fault_has_gone(self) -> str:
        """Check that the fault is gone."""
        self.take_observation()
        there = self.facts.restored_wall is None if self.fault.undo is None else self.fault.is_injected(self.on)
        return f"not healed: {self._injected()}" if there else ""

    def _injected(self) -> str:
        return self.fault.words.injected.of("en", target=self.fault.target)

    # Actions

    def start_load(self) -> None:
        """Start the load generator and record the start time of its ledger."""
        self.load_generator.start(estate=self.estate, endpoint=self.endpoint, load=self.load, seed=self.seed)
        self.facts.ledger_started_wall = float(self.load_generator.header()["started_wall_s"])
        self.say("applicants_start", subject=self.rate_text())

    def rate_text(self) -> str:
        """Return the rate as text, for example `20/s`."""
        return f"{self.load.rate_per_s:g}/s"

    def inject(self) -> None:
        """Inject the fault and record when that began. A refused injection leaves no record."""
        began = self.clock.wall()
        self.fault.inject(self.on)
        self.facts.injected_wall = began
        self.say("injected", "injector", self.fault.target, wall=began, text=self.fault.words.injected)

    def heal(self) -> None:
        """Heal the fault and start measuring the pods of a lost site."""
        self.facts.restored_wall = self.clock.wall()
        self.say("healed", "injector", self.fault.target, wall=self.facts.restored_wall, text=self.fault.words.healed)
        self.fault.heal(self.on)
        self.pods.begin()

    def stop_load(self) -> None:
        """Stop the load generator and wait for its open requests."""
        orderly = self.load_generator.stop(within_s=self.load.drain_s + 10)
        self.say("applicants_stop", detail="" if orderly else "killed")

    def collect(self) -> None:
        """Fetch the ledger and the primary's rows. A failed query is repeated for `ROWS_WITHIN_S`."""
        self.note_pods()
        folder = self.journal.path.parent
        self.facts.ledger_text = self.load_generator.ledger()
        (folder / "ledger.jsonl").write_text(self.facts.ledger_text, encoding="utf-8")
        end = self.clock.monotonic() + ROWS_WITHIN_S
        while not self.facts.rows_text:
            try:
                host, self.facts.rows_text = primary_rows(self.service, self.on.observer, self.on.machines)
            except GovcloudError:
                if self.clock.monotonic() > end:
                    raise
                self.clock.wait(POLL_S)
        (folder / "rows.csv").write_text(self.facts.rows_text, encoding="utf-8")
        self.say("compared", subject=host)


def served(tail: str, *, since_s: float, for_s: float, rate_per_s: float) -> str:
    """Check that all first attempts in the last `for_s` seconds of the ledger's tail were acknowledged. Pure.

    Both kinds must be present, and all seconds must be after `since_s` of the ledger's time. The newest second is
    ignored, because its requests may still be open.
    """
    entries = {}
    for line in tail.splitlines():
        try:
            value = json.loads(line)
            if value.get("kind") in ("write", "read"):
                entries[value["kind"], value["n"]] = value
        except (ValueError, KeyError, AttributeError):
            continue
    if not entries:
        return "the load generator has not sent anything yet"
    newest = max(e["scheduled_s"] for e in entries.values())
    begin, end = newest - 1.0 - for_s, newest - 1.0
    if begin < since_s:
        return "too little time has passed"
    recent = [e for e in entries.values() if begin <= e["scheduled_s"] < end]
    for kind in ("write", "read"):
        first = [e["attempts"][0] for e in recent if e["kind"] == kind]
        failed = Counter(_cause(attempt) for attempt in first if attempt["status"] not in (200, 201))
        good, due = len(first) - failed.total(), max(len(first), round(for_s * rate_per_s))
        if failed or good < 0.9 * for_s * rate_per_s:
            causes = ", ".join(f"{count} × {cause}" for cause, count in failed.most_common(3))
            return f"{good} of {due} {kind}s in the last {for_s:g} s succeeded" + (f" ({causes})" if causes else "")
    return ""


def _cause(attempt: dict[str, Any]) -> str:
    """Return why a first attempt was not acknowledged, in a few words."""
    answer = " ".join(str(part) for part in (attempt["status"], attempt.get("code")) if part)
    return str(attempt.get("error") or answer or "no answer yet")
