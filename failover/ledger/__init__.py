"""The truth about a run: what the load generator recorded, its figures, and its comparison with the database. Pure.

The definitions stand in `figures` and `compare`, next to the code that computes them.
"""

from failover.ledger.compare import Comparison, Row, compare, parse_rows
from failover.ledger.figures import Figures, figures
from failover.ledger.records import Attempt, Entry, Ledger, Outcome, Unreadable, parse

__all__ = [
    "Attempt",
    "Comparison",
    "Entry",
    "Figures",
    "Ledger",
    "Outcome",
    "Row",
    "Unreadable",
    "compare",
    "figures",
    "parse",
    "parse_rows",
]
