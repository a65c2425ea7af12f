"""The ledger of a run: the load generator's records, their metrics, and their comparison with the database. Pure.

The definitions are in `metrics` and `compare`, next to the code that computes them.
"""

from failover.ledger.compare import Comparison, Row, compare, parse_rows
from failover.ledger.metrics import Metrics, compute_metrics
from failover.ledger.records import Attempt, Entry, Ledger, Outcome, Unreadable, parse

__all__ = [
    "Attempt",
    "Comparison",
    "Entry",
    "Ledger",
    "Metrics",
    "Outcome",
    "Row",
    "Unreadable",
    "compare",
    "compute_metrics",
    "parse",
    "parse_rows",
]
