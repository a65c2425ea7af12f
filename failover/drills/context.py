"""The context of a drill's steps: their checks, actions and recorded data.

Every check returns the empty string if it passes, otherwise a text that names the missing condition.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from estate.model import Estate, Service
from failover.drills.changes import changes
from failover.journal import Journal
from failover.ledger import Comparison, compare, compute_metrics, parse, parse_rows
from failover.pod_readiness import PodReadinessTimer
from failover.protocols import Clock, Machines, Observer, Power, Watch
from failover.result import Event, Evidence
from failover.step import POLL_S
from failover.vantage import Endpoint, LoadGeneratorFailed, LoadProfile, RemoteLoadGenerator
from monitors.health import Problem, Scope, problems
from monitors.observe.model import Observation
from workstation.errors import GovcloudError

ROWS = "SELECT key, digest, decision FROM approval.application WHERE synthetic ORDER BY id"
ROWS_ARGV = ("runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--csv", "-d", "approval")
GRACE_S = 0.5
"""A request sent less than this after the power off may still have left before it."""
TAIL_EVERY_S = 1.0
"""Unlike an observation, reading the ledger's tail costs processor time on the vantage. The load generator needs it."""
ROWS_WITHIN_S = 60.0
"""The query for the rows is repeated for this long. One failed query must not discard minutes of measurement."""


@dataclass(kw_only=True)
class DrillContext:
    """The interfaces and the data of one run. `powered_off_s` is the shortest time that the site stays powered off.

    It is longer than the lease of a dead primary, so that the drill also observes late effects.
    """

    estate: Estate
    service: Service
    site: str
    machines: Machines
    power: Power
    observer: Observer
    watch: Watch
    pods: PodReadinessTimer
    clock: Clock
    journal: Journal
    load_generator: RemoteLoadGenerator
    endpoint: Endpoint
    load: LoadProfile
    seed: int
    powered_off_s: float
    on_event: Callable[[Event], None]
    events: list[Event] = field(default_factory=list)
    seen: Observation | None = None
    injected_wall: float | None = None
    restored_wall: float | None = None
    served_wall: float | None = None
    healthy_wall: float | None = None
    pods_wall: float | None = None
    ledger_started_wall: float = 0.0
    next_tail: float = 0.0
    unserved: str = ""
    remaining: tuple[Problem, ...] = ()
    ledger_text: str = ""
    rows_text: str = ""

    def say(self, code: str, source: str = "drill", subject: str = "", detail: str = "", wall: float = 0.0) -> None:
        """Record an event and report it."""
        at = wall or self.clock.wall()
        event = Event(wall=at, code=code, source=source, subject=subject, detail=detail)
        self.events.append(event)
        self.on_event(event)

    def take_observation(self) -> Observation:
        """Return the newest observation and record the changes since the previous one.

        The call is cheap: it reads a value that the watch keeps up to date.
        """
        seen = self.watch.latest()
        if self.seen is not None:
            for change in changes(self.estate, self.seen, seen):
                self.say(change.code, "observer", change.subject, change.detail)
        self.seen = seen
        self.note_pods()
        return seen

    def note_pods(self) -> None:
        """Record once when the site's own pods answered after the power on."""
        if self.pods_wall is None and self.pods.answered_wall is not None:
            self.pods_wall = self.pods.answered_wall
            self.say("pods_serve", "observer", self.site, wall=self.pods_wall)

    # Checks

    def all_healthy(self) -> str:
        """Check that the estate has no problem in the scope of drills."""
        self.remaining = problems(self.estate, self.take_observation(), Scope.DRILL)
        if not self.remaining and self.restored_wall is not None and self.healthy_wall is None:
            self.healthy_wall = self.clock.wall()
            self.say("all_healthy")
        return "; ".join(map(str, self.remaining))

    def citizens_served(self, for_s: float = 3.0) -> str:
        """Check that every request of the last seconds succeeded at its first attempt. Only requests after the
        injection count."""
        if self.clock.monotonic() < self.next_tail:
            return self.unserved or "the ledger was read a moment ago"
        self.next_tail = self.clock.monotonic() + TAIL_EVERY_S
        tail = self.load_generator.tail(round(self.load.rate_per_s * 2 * (for_s + 8)))
        since = -1.0 if self.injected_wall is None else self.injected_wall - self.ledger_started_wall + GRACE_S
        missing = self.unserved = served(tail, since_s=since, for_s=for_s, rate_per_s=self.load.rate_per_s)
        if missing and not self.load_generator.running():
            raise LoadGeneratorFailed("the load generator has ended too early", "see its ledger in the drill's folder")
        return missing

    def service_back(self) -> str:
        """Check that citizens are served again. Neither the drill nor the operator has repaired anything before."""
        self.take_observation()
        missing = self.citizens_served()
        if not missing and self.served_wall is None:
            self.served_wall = self.clock.wall()
            self.say("served_again", "applicant")
        return missing

    def off_long_enough(self) -> str:
        """Check that the site has been powered off for `powered_off_s`."""
        self.take_observation()
        left = self.powered_off_s - (self.clock.wall() - (self.injected_wall or 0.0))
        return f"{left:.0f} s to go" if left > 0 else ""

    def site_is_off(self) -> str:
        """Check that the site is powered off."""
        return f"{self.site} still has power" if self.power.is_on(self.site) else ""

    def site_is_on(self) -> str:
        """Check that the site is powered on."""
        return "" if self.power.is_on(self.site) else f"{self.site} has no power"

    # Actions

    def start_load(self) -> None:
        """Start the load generator and record the start time of its ledger."""
        self.load_generator.start(estate=self.estate, endpoint=self.endpoint, load=self.load, seed=self.seed)
        self.ledger_started_wall = float(self.load_generator.header()["started_wall_s"])
        self.say("applicants_start", subject=self.rate_text())

    def rate_text(self) -> str:
        """Return the rate as text, for example `20/s`."""
        return f"{self.load.rate_per_s:g}/s"

    def power_off(self) -> None:
        """Power the site off: this is the injection."""
        self.injected_wall = self.clock.wall()
        self.say("power_off", "injector", self.site, wall=self.injected_wall)
        self.power.off(self.site)

    def power_on(self) -> None:
        """Power the site on and start measuring its pods."""
        self.restored_wall = self.clock.wall()
        self.say("power_on", "injector", self.site, wall=self.restored_wall)
        self.power.on(self.site)
        self.pods.begin()

    def stop_load(self) -> None:
        """Stop the load generator and wait for its open requests."""
        orderly = self.load_generator.stop(within_s=self.load.drain_s + 10)
        self.say("applicants_stop", detail="" if orderly else "killed")

    def collect(self) -> None:
        """Fetch the ledger and the primary's rows. A failed query is repeated for `ROWS_WITHIN_S`."""
        self.note_pods()
        folder = self.journal.path.parent
        self.ledger_text = self.load_generator.ledger()
        (folder / "ledger.jsonl").write_text(self.ledger_text, encoding="utf-8")
        end = self.clock.monotonic() + ROWS_WITHIN_S
        while not self.rows_text:
            try:
                host, self.rows_text = self._rows()
            except GovcloudError:
                if self.clock.monotonic() > end:
                    raise
                self.clock.wait(POLL_S)
        (folder / "rows.csv").write_text(self.rows_text, encoding="utf-8")
        self.say("compared", subject=host)

    def _rows(self) -> tuple[str, str]:
        """Return the primary's host and its rows."""
        primary = self.observer.snapshot().primary  # a fresh snapshot decides which member is the primary
        if primary is None:
            raise GovcloudError("no primary to compare the ledger with", "see `./govcloud status`; the ledger is kept")
        result = self.machines.run(primary.host, [*ROWS_ARGV, "-c", ROWS], timeout_s=120)
        if result.returncode != 0:
            raise GovcloudError(f"{primary.host}: psql: {result.stderr.decode(errors='replace').strip()}")
        return primary.host, result.stdout.decode()

    def evidence(self) -> Evidence:
        """Return the metrics of the collected data. Raises `ledger.Unreadable` if the ledger is damaged."""
        ledger = parse(self.ledger_text)
        compared: Comparison = compare(ledger, parse_rows(self.rows_text))
        return Evidence(ledger=ledger, metrics=compute_metrics(ledger), comparison=compared)


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
        good = sum(1 for e in recent if e["kind"] == kind and e["attempts"][0]["status"] in (200, 201))
        due = sum(1 for e in recent if e["kind"] == kind)
        if good < due or good < 0.9 * for_s * rate_per_s:
            return f"{good} of {max(due, round(for_s * rate_per_s))} {kind}s in the last {for_s:g} s succeeded"
    return ""
