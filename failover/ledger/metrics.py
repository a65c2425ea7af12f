"""Metrics of a ledger, exactly as the design defines them.

- write outage: the longest time between the *scheduled* sends of two consecutive acknowledged first attempts, minus one
  interval. Read outage: the same for reads. The two ends of the run count as acknowledged just outside it, so that an
  outage without an end inside the run is counted.
- availability: of the 100 ms windows with at least one due request, the share in which every due request succeeded at
  its first attempt.
- latency: from the *scheduled* send to the answer of acknowledged first attempts, so that a stall counts in full.
- longest silence: the longest time without an *arriving* acknowledgement. It shows a stall that is shorter than the
  timeout of an attempt, which is no outage by the first definition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from failover.ledger.records import Entry, Ledger, Outcome

WINDOW_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A period without an acknowledged first attempt, in seconds after the run's start.

    `length_s` is already reduced by one interval. `ended` is False if the run ended before the service returned.
    """

    start_s: float
    end_s: float
    length_s: float
    ended: bool = True


NO_GAP = Gap(start_s=0.0, end_s=0.0, length_s=0.0)


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window of 100 ms: the numbers of due and of successful requests, by kind."""

    start_s: float
    writes_due: int = 0
    writes_ok: int = 0
    reads_due: int = 0
    reads_ok: int = 0

    @property
    def due(self) -> int:
        """Number of due requests of both kinds."""
        return self.writes_due + self.reads_due

    @property
    def succeeded(self) -> bool:
        """True if every due request succeeded."""
        return self.writes_ok + self.reads_ok == self.due


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Percentiles in milliseconds by the nearest-rank method; None if no request was acknowledged."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """All metrics of one run; times in seconds."""

    duration_s: float
    write_gap: Gap
    read_gap: Gap
    write_outage_by_family: dict[int, float]
    read_outage_by_family: dict[int, float]
    write_silence_s: float
    availability: float
    availability_writes: float
    availability_reads: float
    windows: tuple[Window, ...]
    acknowledged: int
    refused: int
    unknown: int
    reads: int
    reads_failed: int
    reads_stale: int
    retried: int
    not_sent: int
    write_latency: Latency
    read_latency: Latency
    lateness_p99_ms: float

    @property
    def write_outage_s(self) -> float:
        """Longest write outage in seconds."""
        return self.write_gap.length_s

    @property
    def read_outage_s(self) -> float:
        """Longest read outage in seconds."""
        return self.read_gap.length_s


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Requests of one kind that were due after a given time: their number, the number that failed at the first attempt,
    and the longest outage in seconds that began in the interval."""

    due: int
    failed: int
    outage_s: float


def interval_from(entries: Sequence[Entry], interval_s: float, start_s: float) -> Interval:
    """Return the interval from `start_s` after the run's start to its end. Outages that began before do not count."""
    own = [entry for entry in entries if entry.scheduled_s >= start_s]
    begun = (gap.length_s for gap in gaps(entries, interval_s) if gap.start_s >= start_s)
    return Interval(
        due=len(own), failed=sum(not entry.first_acknowledged for entry in own), outage_s=max(begun, default=0.0)
    )


def compute_metrics(ledger: Ledger) -> Metrics:
    """Compute all metrics that need only the ledger."""
    writes, reads = ledger.of("write"), ledger.of("read")
    windows = windows_of(ledger.entries)
    outcomes = [entry.outcome for entry in writes]
    late = sorted(a.sent_s - e.scheduled_s for e in ledger.entries for a in e.attempts[:1])
    return Metrics(
        duration_s=_end(ledger.entries, ledger.interval_s),
        write_gap=longest_gap(writes, ledger.interval_s), read_gap=longest_gap(reads, ledger.interval_s),
        write_outage_by_family=_by_family(writes), read_outage_by_family=_by_family(reads),
        write_silence_s=longest_silence(writes),
        availability=share(w.succeeded for w in windows),
        availability_writes=share(w.writes_ok == w.writes_due for w in windows if w.writes_due),
        availability_reads=share(w.reads_ok == w.reads_due for w in windows if w.reads_due),
        windows=windows,
        acknowledged=outcomes.count(Outcome.ACKNOWLEDGED), refused=outcomes.count(Outcome.REFUSED),
        unknown=outcomes.count(Outcome.UNKNOWN),
        reads=len(reads), reads_failed=sum(not e.first_acknowledged for e in reads),
        reads_stale=sum(bool(e.attempts) and e.attempts[0].status == 404 for e in reads),
        retried=sum(len(e.attempts) > 1 for e in writes),
        not_sent=sum(bool(e.attempts) and e.attempts[0].never_sent for e in ledger.entries),
        write_latency=latency(writes), read_latency=latency(reads),
        lateness_p99_ms=_ms(percentile(late, 99)) or 0.0,
    )  # fmt: skip


def gaps(entries: Sequence[Entry], interval_s: float) -> tuple[Gap, ...]:
    """Return every outage of one kind in order: gaps between consecutive acknowledged first attempts that are longer
    than an interval. `entries` must be of one kind, sorted by scheduled time, and due every `interval_s`."""
    if not entries:
        return ()
    first, last = entries[0].scheduled_s - interval_s, entries[-1].scheduled_s + interval_s
    good = [first, *(e.scheduled_s for e in entries if e.first_acknowledged), last]
    found = []
    for one, two in pairwise(good):
        length = round(two - one - interval_s, 6)
        if length > interval_s / 2:
            found.append(Gap(start_s=one + interval_s, end_s=two, length_s=length, ended=two != last))
    return tuple(found)


def longest_gap(entries: Sequence[Entry], interval_s: float) -> Gap:
    """Return the longest outage, with length 0 if there was no outage."""
    return max(gaps(entries, interval_s), key=lambda gap: gap.length_s, default=NO_GAP)


def longest_silence(entries: Sequence[Entry]) -> float:
    """Return the longest time in seconds between two arriving acknowledgements of first attempts; 0 with fewer than
    two."""
    arrived = sorted(e.attempts[0].answered_s or 0.0 for e in entries if e.first_acknowledged)
    return round(max((two - one for one, two in pairwise(arrived)), default=0.0), 6)


def windows_of(entries: Iterable[Entry]) -> tuple[Window, ...]:
    """Return the windows with due requests, in order. Whole microseconds assign a request to its window."""
    counts: dict[int, list[int]] = {}
    width_us = round(WINDOW_S * 1_000_000)
    for entry in entries:
        slot = counts.setdefault(round(entry.scheduled_s * 1_000_000) // width_us, [0, 0, 0, 0])
        place = 0 if entry.kind == "write" else 2
        slot[place] += 1
        slot[place + 1] += entry.first_acknowledged
    return tuple(
        Window(start_s=round(n * WINDOW_S, 6), writes_due=c[0], writes_ok=c[1], reads_due=c[2], reads_ok=c[3])
        for n, c in sorted(counts.items())
    )


def share(good: Iterable[bool]) -> float:
    """Return the share of True values. An empty input gives 0: without a proof the service counts as unavailable."""
    values = list(good)
    return sum(values) / len(values) if values else 0.0


def latency(entries: Iterable[Entry]) -> Latency:
    """Compute the latency from the scheduled send to the answer of acknowledged first attempts."""
    taken = sorted((e.attempts[0].answered_s or 0.0) - e.scheduled_s for e in entries if e.first_acknowledged)
    p50, p95, p99 = (_ms(percentile(taken, p)) for p in (50, 95, 99))
    return Latency(count=len(taken), p50_ms=p50, p95_ms=p95, p99_ms=p99, max_ms=_ms(taken[-1] if taken else None))


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the percentile by nearest rank: the smallest value that at least `percent` of all values do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _end(entries: Sequence[Entry], interval_s: float) -> float:
    return round(entries[-1].scheduled_s + interval_s, 6) if entries else 0.0


def _by_family(entries: Sequence[Entry]) -> dict[int, float]:
    """Return the longest outage of each IP version alone. Its interval is longer because it has fewer requests."""
    found: dict[int, float] = {}
    for family in sorted({e.family for e in entries}):
        own = [e for e in entries if e.family == family]
        steps = sorted(two.scheduled_s - one.scheduled_s for one, two in pairwise(own))
        found[family] = longest_gap(own, steps[len(steps) // 2]).length_s if steps else 0.0
    return found
