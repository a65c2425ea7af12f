"""Quantities such as `500m` and `0.5`, `1024Mi` and `1Gi`: the server writes each in one way, authors in many."""

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
"""Fields whose values are quantities by name of resource."""
SINGLE = frozenset(("sizeLimit", "divisor", "averageValue"))
"""Fields that are one quantity themselves."""

_NUMBER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]i?)?)$")
_BINARY = {unit: Decimal(2) ** (10 * power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {
    unit: Decimal(10) ** power for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}

_FACTORS = {**_BINARY, **_DECIMAL, "": Decimal(1)}


def value(text: Any) -> Decimal | None:
    """The number that a quantity stands for; None where it is none."""
    found = _NUMBER.match(str(text)) if isinstance(text, (str, int, float)) and not isinstance(text, bool) else None
    if not found:
        return None
    number, exponent, unit = found.groups()
    if exponent:
        return Decimal(number + exponent)
    factor = _FACTORS.get(unit or "")
    return None if factor is None else Decimal(number) * factor


def same(path: tuple[str | int, ...], one: Any, other: Any) -> bool:
    """Whether two spellings at a quantity's place mean the same."""
    held = len(path) > 1 and path[-2] in HOLDERS
    if not held and path[-1] not in SINGLE:
        return False
    first, second = value(one), value(other)
    return first is not None and first == second
