"""Small ledgers with known answers give the known metrics."""

from __future__ import annotations

import random

import pytest

from failover.ledger import compute_metrics, parse
from failover.ledger.metrics import gaps, percentile
from failover.ledger.records import Outcome
from tests.unit.failover import ledger_builder as make


def test_a_run_without_a_fault_has_no_outage_and_full_availability() -> None:
    reads = [make.read(n, [make.ok((n + 0.5) * 0.05)]) for n in range(100)]
    seen = compute_metrics(parse(make.text(*make.writes(100, lambda n, at: [make.ok(at)]), *reads)))
    assert (seen.write_outage_s, seen.read_outage_s, seen.availability) == (0.0, 0.0, 1.0)
    assert (seen.acknowledged, seen.refused, seen.unknown, seen.reads_failed) == (100, 0, 0, 0)
    assert seen.write_latency.p50_ms == pytest.approx(20.0)


def test_write_outage_is_the_gap_between_scheduled_sends_minus_one_interval() -> None:
    """Sends at 1.00 … 2.95 s fail (40 of them): from 0.95 to 3.00 s is 2.05 s, minus 0.05 s is 2.00 s."""
    lines = make.writes(100, lambda n, at: [make.no_primary(at)] if 20 <= n < 60 else [make.ok(at)])
    seen = compute_metrics(parse(make.text(*lines)))
    assert seen.write_outage_s == pytest.approx(2.0)
    assert seen.write_gap.start_s == pytest.approx(1.0)
    assert seen.write_gap.end_s == pytest.approx(3.0)
    assert seen.availability == pytest.approx(30 / 50)
    assert seen.refused == 40


def test_a_retry_that_succeeds_is_acknowledged_but_does_not_shorten_the_outage() -> None:
    lines = make.writes(40, lambda n, at: [make.silence(at), make.ok(at + 3)] if 10 <= n < 20 else [make.ok(at)])
    seen = compute_metrics(parse(make.text(*lines)))
    assert seen.write_outage_s == pytest.approx(0.5)
    assert (seen.acknowledged, seen.unknown, seen.retried) == (40, 0, 10)


def test_an_outage_that_never_ends_is_counted_to_the_end_of_the_run() -> None:
    seen = compute_metrics(
        parse(make.text(*make.writes(100, lambda n, at: [make.ok(at)] if n < 20 else [make.silence(at)])))
    )
    assert seen.write_outage_s == pytest.approx(4.0)
    assert not seen.write_gap.ended


def test_a_run_without_an_acknowledged_write_is_one_outage() -> None:
    seen = compute_metrics(parse(make.text(*make.writes(100, lambda n, at: [make.silence(at)]))))
    assert seen.write_outage_s == pytest.approx(5.0)
    assert (seen.availability, seen.unknown, seen.acknowledged) == (0.0, 100, 0)
    assert seen.write_latency.p99_ms is None


def test_a_window_counts_only_when_every_request_in_it_succeeded() -> None:
    """Two writes and two reads are due in every 100 ms; one failed read spoils one window of ten."""
    reads = [make.read(n, [make.silence(0) if n == 7 else make.ok((n + 0.5) * 0.05)]) for n in range(20)]
    seen = compute_metrics(parse(make.text(*make.writes(20, lambda n, at: [make.ok(at)]), *reads)))
    assert seen.availability == pytest.approx(0.9)
    assert seen.availability_writes == 1.0
    assert [w.due for w in seen.windows] == [4] * 10


def test_whole_microseconds_decide_the_window() -> None:
    """In binary 0.3 s divided by 0.1 s is 2.999…, but the write due at 0.3 s belongs to the fourth window."""
    for n in range(0, 2000, 7):
        seen = compute_metrics(parse(make.text(make.write(n, [make.ok(0)]))))
        assert seen.windows[0].start_s == pytest.approx(n // 2 * 0.1)


def test_a_silent_stall_shorter_than_the_timeout_is_no_outage_but_shows_as_silence_and_latency() -> None:
    """All sends from 1.0 to 2.0 s are answered at 2.0 s."""
    lines = make.writes(100, lambda n, at: [make.ok(at, after_s=max(0.02, 2.0 - at) if at >= 1.0 else 0.02)])
    seen = compute_metrics(parse(make.text(*lines)))
    assert seen.write_outage_s == 0.0
    assert seen.write_silence_s == pytest.approx(2.0 - 0.97)
    assert seen.write_latency.max_ms == pytest.approx(1000.0)


def test_latency_is_counted_from_the_scheduled_send() -> None:
    late = [{**make.ok(0.5), "answered_s": 0.52}]
    seen = compute_metrics(parse(make.text(make.write(0, late))))
    assert seen.write_latency.p50_ms == pytest.approx(520.0)
    assert seen.lateness_p99_ms == pytest.approx(500.0)


def test_each_family_has_its_own_outage() -> None:
    """All IPv6 writes (odd numbers) fail after 1 s. Over both versions this is hardly an outage; for IPv6 it never
    ends."""
    lines = make.writes(100, lambda n, at: [make.silence(at)] if n % 2 and n >= 20 else [make.ok(at)])
    seen = compute_metrics(parse(make.text(*lines)))
    assert seen.write_outage_s == pytest.approx(0.05)
    assert seen.write_outage_by_family[4] == 0.0
    assert seen.write_outage_by_family[6] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("attempts", "outcome"),
    [
        ([make.ok(0)], Outcome.ACKNOWLEDGED),
        ([make.silence(0), make.silence(3)], Outcome.UNKNOWN),
        ([make.silence(0), make.no_primary(3)], Outcome.REFUSED),
        ([make.no_primary(0), make.ok(1)], Outcome.ACKNOWLEDGED),
        ([{**make.no_primary(0), "code": "commit_unknown"}], Outcome.UNKNOWN),
        ([{**make.no_primary(0), "status": 500, "code": None}], Outcome.UNKNOWN),
        ([{**make.no_primary(0), "status": 422, "code": "name_length"}], Outcome.REFUSED),
        ([{"sent_s": 0.0, "error": "not sent: too many in flight"}], Outcome.REFUSED),
    ],
)
def test_the_attempts_of_a_write_decide_its_outcome(attempts: make.Attempts, outcome: Outcome) -> None:
    assert parse(make.text(make.write(0, attempts))).entries[0].outcome is outcome


def test_percentiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([], 50) is None


@pytest.mark.parametrize("seed", range(200))
def test_outage_equals_the_longest_run_of_failures_for_any_pattern(seed: int) -> None:
    """Property: with sends every interval, an outage is exactly as long as its failed sends."""
    chance = random.Random(seed)
    good = [chance.random() < chance.choice((0.2, 0.7, 0.95)) for _ in range(chance.randint(1, 300))]
    lines = make.writes(len(good), lambda n, at: [make.ok(at)] if good[n] else [make.silence(at)])
    ledger = parse(make.text(*lines))
    runs = "".join("." if ok else "x" for ok in good).split(".")
    seen = compute_metrics(ledger)
    assert seen.write_outage_s == pytest.approx(max(map(len, runs)) * 0.05)
    assert len(gaps(ledger.of("write"), 0.05)) == sum(bool(run) for run in runs)
    assert seen.acknowledged + seen.refused + seen.unknown == len(good)
    assert (seen.availability == 1.0) == all(good)
