"""Compares the ledger with the database, row by row.

- lost: the write was acknowledged, but its row is absent, or has another digest or decision than was acknowledged; or
  the write was acknowledged twice with different decisions.
- duplicated: a key has more than one row.
- appeared: every attempt was refused by a clear answer, but the row is present.
- unknown: the row may be present or absent. Both are counted, neither is an error.

Rows of other runs and of real citizens are not in this ledger and are ignored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from failover.ledger.records import Entry, Ledger, Outcome, Unreadable


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the application table."""

    key: str
    digest: str
    decision: str


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A key for which ledger and database disagree. `what` is the description in English."""

    key: str
    n: int
    scheduled_s: float
    what: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of the comparison. All three lists of violations must be empty."""

    compared: int
    lost: tuple[Violation, ...]
    duplicated: tuple[Violation, ...]
    appeared: tuple[Violation, ...]
    unknown_present: int
    unknown_absent: int

    @property
    def clean(self) -> bool:
        """True if no write is lost, duplicated or appeared."""
        return not (self.lost or self.duplicated or self.appeared)


HEADER = ["key", "digest", "decision"]

Judge = Callable[[Entry, list[Row]], str]
"""Returns the problem of a write and its rows, or an empty string."""


def parse_rows(text: str) -> tuple[Row, ...]:
    """Parse CSV with the header `key,digest,decision`. Raises Unreadable with the line's number."""
    reader = csv.reader(io.StringIO(text))
    if next(reader, None) != HEADER:
        raise Unreadable(f"the rows of the database must begin with the header {','.join(HEADER)}")
    rows = []
    for number, fields in enumerate(reader, start=2):
        if len(fields) != len(HEADER):
            raise Unreadable(f"the rows of the database, line {number}: {len(fields)} fields instead of {len(HEADER)}")
        rows.append(Row(key=fields[0].lower(), digest=fields[1].strip(), decision=fields[2]))
    return tuple(rows)


def compare(ledger: Ledger, rows: Iterable[Row]) -> Comparison:
    """Compare every write of the ledger with the rows."""
    by_key: dict[str, list[Row]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    writes = ledger.of("write")
    unknown = [entry for entry in writes if entry.outcome is Outcome.UNKNOWN]
    present = sum(entry.key in by_key for entry in unknown)
    return Comparison(
        compared=len(writes),
        lost=tuple(_violations(writes, by_key, _lost)),
        duplicated=tuple(_violations(writes, by_key, _duplicated)),
        appeared=tuple(_violations(writes, by_key, _appeared)),
        unknown_present=present,
        unknown_absent=len(unknown) - present,
    )


def _violations(writes: Iterable[Entry], by_key: Mapping[str, list[Row]], judge: Judge) -> Iterable[Violation]:
    for entry in writes:
        what = judge(entry, by_key.get(entry.key, []))
        if what:
            yield Violation(key=entry.key, n=entry.n, scheduled_s=entry.scheduled_s, what=what)


def _lost(entry: Entry, rows: list[Row]) -> str:
    if entry.outcome is not Outcome.ACKNOWLEDGED:
        return ""
    if not rows:
        return "acknowledged, but absent from the database"
    decisions = {a.decision for a in entry.attempts if a.outcome is Outcome.ACKNOWLEDGED}
    if len(decisions) > 1:
        return f"acknowledged with different decisions: {', '.join(sorted(map(str, decisions)))}"
    if any(row.digest != entry.digest for row in rows):
        return "acknowledged, but the content in the database is different"
    if any(row.decision not in decisions for row in rows):
        return f"acknowledged as {next(iter(decisions))}, but the database has {rows[0].decision}"
    return ""


def _duplicated(entry: Entry, rows: list[Row]) -> str:
    return f"{len(rows)} rows for one key" if len(rows) > 1 else ""


def _appeared(entry: Entry, rows: list[Row]) -> str:
    if rows and entry.outcome is Outcome.REFUSED and not entry.may_be_written:
        return "refused at every attempt, but present in the database"
    return ""
