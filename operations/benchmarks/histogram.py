"""Evaluates a Prometheus histogram between two scrapes. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

Buckets = Counter[float]
"""Number of observations by the upper bound of their bucket, cumulative as scraped. The last bound is infinity."""


def buckets(texts: Iterable[str], name: str) -> Buckets:
    """Return the histogram `name`, summed over all scraped texts and all labels."""
    found: Buckets = Counter()
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{name}_bucket":
                    found[float(sample.labels["le"])] += int(sample.value)
    return found


def bound(before: Buckets, after: Buckets, share: float) -> float | None:
    """Return the smallest upper bound of at least `share` of the observations between two scrapes.

    Return None without observations, and infinity if they exceed every finite bound. The value is a bound and not an
    interpolation inside the bucket: the true quantile is at most this value.
    """
    total = after[math.inf] - before[math.inf]
    if total <= 0:
        return None
    return next(bound for bound in sorted(after) if after[bound] - before[bound] >= share * total)
