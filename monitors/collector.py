"""The shape of a collector: all that the platform knows about observing one concern, such as a daemon.

A collector has its queries, their parser, its part of the observation, the judgement of that part, and its place on the
status screen. The loops over all collectors are `observe`, `health` and `status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from estate.model import Estate
from monitors.problem import Language, Problem
from monitors.query import Queries, Replies, Target

Part_contra = TypeVar("Part_contra", contravariant=True)
"""The part of an observation that a collector reads: its own dataclass. If it also reads values of other collectors, a
protocol that names them; collectors do not import each other."""

UP, DOWN, PARTLY, UNSEEN = "●", "✗", "◐", "·"


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every judgement may use in addition to its own part of the observation."""

    estate: Estate
    reached: frozenset[str]
    """Hosts that replied. Problems of a daemon are reported for these only: an unreachable host is reported as such."""
    unreachable: frozenset[str]
    """Hosts that were asked and did not reply."""


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Part_contra]):
    """A column of the screen's table of sites. `cell` receives the name of a site."""

    zh: str
    en: str
    cell: Callable[[Part_contra, str, Language], str]


@dataclass(frozen=True, kw_only=True)
class Block(Generic[Part_contra]):
    """A table of its own on the screen. A row that is shorter than the longest one may be wider than its columns."""

    zh: str
    en: str
    rows: Callable[[Estate, Part_contra, Language], Sequence[Sequence[str]]]


@dataclass(frozen=True, kw_only=True)
class Collector(Generic[Part_contra]):
    """One concern that is observed."""

    rank: int
    """Problems of equal severity are listed by rank: data, what users see, the machines behind it."""
    queries: Callable[[Target], Queries]
    """The queries for a host, by names that no other collector uses. Empty if the host has nothing of this concern."""
    parse: Callable[[Replies], object]
    """The collector's part of the observation: a frozen dataclass, and a base of `Observation`."""
    judge: Callable[[Context, Part_contra], Iterable[Problem]]
    """The problems in that part, each one once and at its cause. Their kinds are constants of the module."""
    columns: tuple[Column[Part_contra], ...] = ()
    block: Block[Part_contra] | None = None


def mark(up: int, of: int) -> str:
    """Return the sign for `up` of `of` things that are well."""
    return UNSEEN if not of else UP if up == of else PARTLY if up else DOWN
