"""The outcome of a drill: measured and promised figures, and one verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from estate.model import Objectives, Title
from failover.ledger import Comparison, Ledger, Metrics
from failover.ledger.metrics import Interval, interval_from
from failover.words import FaultWords, Text
from monitors.problem import Problem


class Verdict(StrEnum):
    """The verdict of a drill, the best first."""

    PASS = "pass"
    MISSED = "objective-missed"
    """No data was lost, but an outage was longer than promised."""
    FAILED = "failed"
    """The estate did not become healthy again, or the measurement itself is invalid."""
    VIOLATED = "data-violated"
    """An acknowledged row is missing or changed, a row exists twice, or a refused row exists."""

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        return {"pass": 0, "objective-missed": 5}.get(self.value, 1)


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a drill. `wall` is in seconds since 1970; `messages.yaml` has the text of each `code`.

    `source` is injector, applicant (the load generator), observer or drill. `text` belongs to the fault.
    """

    wall: float
    code: str
    source: str
    subject: str = ""
    detail: str = ""
    text: Text | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The ledger of a run, its metrics, and its comparison with the database."""

    ledger: Ledger
    metrics: Metrics
    comparison: Comparison


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why the verdict is not a pass. `measured` and `promised` in the unit that the code implies."""

    code: str
    measured: float | None = None
    promised: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class DrillResult:
    """One finished drill.

    - `target`: the fault's object. `site`: the site that was lost, None if no site was lost.
    - `injected_wall`: the moment just before the injection.
    - `restored_wall`: the fault was healed.
    - `served_wall`: citizens were served again.
    - `healthy_wall`: every health check was green again.
    - `pods_wall`: the lost site's own pods answered after the power on.
    - `remaining`: the problems at the end.
    - `report`: path of the page in the requested language.

    A time is None if the event never came. `pods_wall` is also None if no site was lost, or if it has no pods.
    """

    id: str
    scenario: str
    title: Title
    site: str | None
    target: str
    words: FaultWords
    estate: str
    objectives: Objectives
    rate_per_s: float
    started_wall: float
    injected_wall: float
    restored_wall: float | None
    served_wall: float | None
    healthy_wall: float | None
    pods_wall: float | None
    remaining: tuple[Problem, ...]
    events: tuple[Event, ...]
    evidence: Evidence
    report: str = ""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """All reasons against a pass, the most serious first."""
        return tuple(_reasons(self))

    @property
    def verdict(self) -> Verdict:
        """Violated data outweighs a failed recovery, which outweighs a missed objective."""
        codes = {reason.code for reason in self.reasons}
        if codes & {"lost", "duplicated", "appeared"}:
            return Verdict.VIOLATED
        if codes & {"not_whole", "measurement"}:
            return Verdict.FAILED
        return Verdict.MISSED if codes else Verdict.PASS

    @property
    def exit_code(self) -> int:
        """0: passed. 5: objective missed. 1: failed or data violated."""
        return self.verdict.exit_code

    @property
    def recovery_s(self) -> float | None:
        """Seconds from the injection until every health check was green."""
        return None if self.healthy_wall is None else round(self.healthy_wall - self.injected_wall, 2)

    @property
    def pods_serving_s(self) -> float | None:
        """Seconds from the power on until the first answer of the site's own pods. It has no objective, so the verdict
        does not count it."""
        if self.pods_wall is None or self.restored_wall is None:
            return None
        return round(self.pods_wall - self.restored_wall, 2)

    @property
    def after_heal(self) -> Interval | None:
        """Writes after the fault was healed: they show whether citizens notice the return. None if it was not healed.
        It has no objective of its own; the verdict counts the outages of the whole drill."""
        if self.restored_wall is None:
            return None
        ledger = self.evidence.ledger
        return interval_from(ledger.of("write"), ledger.interval_s, self.restored_wall - ledger.started_wall_s)

    @property
    def injected_s(self) -> float:
        """Time of the injection, in seconds after the ledger's start."""
        return self.injected_wall - self.evidence.ledger.started_wall_s

    def at_s(self, wall: float) -> float:
        """Seconds after the injection."""
        return round(wall - self.injected_wall, 3)


LATE_MS = 1000.0
"""If the load generator's own sends are later than this at the 99th percentile, the measurement is invalid. Smaller
delays are only reported as an improvement to make. Outages and latency count from the scheduled send, so a late load
generator can only make the service look worse."""


def _reasons(result: DrillResult) -> Iterator[Reason]:
    f, c, promised = result.evidence.metrics, result.evidence.comparison, result.objectives
    if len(c.lost) > promised.rpo_records:
        yield Reason(code="lost", measured=len(c.lost), promised=promised.rpo_records)
    if c.duplicated:
        yield Reason(code="duplicated", measured=len(c.duplicated), promised=0)
    if c.appeared:
        yield Reason(code="appeared", measured=len(c.appeared), promised=0)
    if result.healthy_wall is None:
        yield Reason(code="not_whole", detail="; ".join(map(str, result.remaining)))
    if not result.evidence.ledger.complete:
        yield Reason(code="measurement", detail="the load generator did not end normally")
    elif f.not_sent or f.lateness_p99_ms > LATE_MS:
        yield Reason(code="measurement", detail=f"{f.not_sent} not sent, {f.lateness_p99_ms:g} ms late at p99")
    if f.write_outage_s > promised.rto_s:
        yield Reason(code="write_outage", measured=f.write_outage_s, promised=promised.rto_s)
    if f.read_outage_s > promised.read_outage_s:
        yield Reason(code="read_outage", measured=f.read_outage_s, promised=promised.read_outage_s)
