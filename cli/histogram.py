"""What a service's own histogram says of the time between two scrapes. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

Buckets = Counter[float]
"""Observations by their bucket's upper bound, cumulative as scraped; the last bound is infinity."""


def buckets(texts: Iterable[str], name: str) -> Buckets:
    """The histogram `name` in the scraped texts, added up over all of them and over all labels."""
    found: Buckets = Counter()
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{name}_bucket":
                    found[float(sample.labels["le"])] += int(sample.value)
    return found


def bound(before: Buckets, after: Buckets, share: float) -> float | None:
    """Smallest upper bound that at least `share` of the observations between two scrapes did not pass; None if there
    were none, infinity if they passed every bound.

    A bound, not a guess within the bucket: the true quantile is at most this.
    """
    total = after[math.inf] - before[math.inf]
    if total <= 0:
        return None
    return next(bound for bound in sorted(after) if after[bound] - before[bound] >= share * total)
