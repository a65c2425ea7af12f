"""What a rule yields, and how a rule names the place that it speaks of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Estate


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A rule is broken at `key`, where `value` stands; `message` ends with the way out."""

    key: str
    value: str
    message: str


def at(estate: Estate, section: str, name: str, *fields: str) -> str:
    """Key path of the named entry, as the loader writes it: `hosts[3](futian-ops1).number`."""
    entries = getattr(estate, section)
    index = next(i for i, entry in enumerate(entries) if entry.name == name)
    return ".".join((f"{section}[{index}]({name})", *fields))


def nth(section: str, index: int, name: str, *fields: str) -> str:
    """As `at`, for an entry whose name is perhaps not unique."""
    return ".".join((f"{section}[{index}]({name})", *fields))


Breaches = Iterator[Breach]
