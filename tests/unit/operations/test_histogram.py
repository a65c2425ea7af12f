"""The bound of a histogram between two scrapes."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from operations.benchmarks.histogram import bound, buckets

BOUNDS = (0.01, 0.05, 0.1)


def scraped(*seconds: float) -> str:
    """Return the metrics of an instance that observed these durations."""
    registry = CollectorRegistry()
    histogram = Histogram("took_seconds", "Time taken.", buckets=BOUNDS, registry=registry)
    for value in seconds:
        histogram.observe(value)
    return generate_latest(registry).decode()


def test_the_bound_counts_only_observations_between_the_scrapes_of_all_instances() -> None:
    """99 fast and 1 slow observations: 99 % gives the fast bound, 100 % the slow bound. Earlier ones do not count."""
    slow_start = [0.09] * 50
    before = buckets([scraped(*slow_start), scraped()], "took_seconds")
    after = buckets([scraped(*slow_start, *[0.005] * 60), scraped(*[0.005] * 39, 0.04)], "took_seconds")
    assert bound(before, after, 0.99) == 0.01
    assert bound(before, after, 1.0) == 0.05


def test_without_observations_there_is_no_bound_and_beyond_the_last_it_is_infinite() -> None:
    before = buckets([scraped(0.02)], "took_seconds")
    assert bound(before, before, 0.99) is None
    assert bound(before, buckets([scraped(0.02, 5.0)], "took_seconds"), 0.99) == math.inf
    assert buckets([scraped(0.02)], "another_seconds") == {}


def test_metrics_of_several_instances_may_be_in_one_text() -> None:
    """A node returns the metrics of all pods of its site in one text."""
    together = scraped(0.005, 0.02) + scraped(0.04)
    assert buckets([together], "took_seconds") == buckets([scraped(0.005, 0.02), scraped(0.04)], "took_seconds")
    assert buckets([together], "took_seconds")[math.inf] == 3
