"""Comparison of quantities such as `500m` and `0.5`, `1024Mi` and `1Gi`. The server uses one spelling, authors many."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

HOLDERS = frozenset(
    (
        "allocatable",
        "capacity",
        "default",
        "defaultRequest",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "podFixed",
        "requests",
        "used",
    )
)
"""Fields that map resource names to quantities."""
SINGLE = frozenset(("sizeLimit", "divisor", "averageValue"))
"""Fields that contain one quantity."""

_NUMBER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]i?)?)$")
_BINARY = {unit: Decimal(2) ** (10 * power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {
    unit: Decimal(10) ** power for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}

_FACTORS = {**_BINARY, **_DECIMAL, "": Decimal(1)}


def value(text: Any) -> Decimal | None:
    """Return the number of a quantity; None if the text is not a quantity."""
    found = _NUMBER.match(str(text)) if isinstance(text, (str, int, float)) and not isinstance(text, bool) else None
    if not found:
        return None
    number, exponent, unit = found.groups()
    if exponent:
        return Decimal(number + exponent)
    factor = _FACTORS.get(unit or "")
    return None if factor is None else Decimal(number) * factor


def same(path: tuple[str | int, ...], one: Any, other: Any) -> bool:
    """Return whether two values at the path of a quantity are equal."""
    by_name = len(path) > 1 and path[-2] in HOLDERS
    if not by_name and path[-1] not in SINGLE:
        return False
    first, second = value(one), value(other)
    return first is not None and first == second
