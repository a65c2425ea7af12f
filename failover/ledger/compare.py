"""Ledger against database, row by row.

- lost: acknowledged and absent, or present with another digest or decision than was acknowledged, or acknowledged twice
  with different decisions.
- duplicated: more than one row for a key.
- appeared: refused by a clear answer at every attempt, and yet present.
- unknown keys may be present or absent; both are counted, neither is an error.

Rows of other runs and of real citizens are no matter of this ledger and are ignored.
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
    """One key for which ledger and database disagree; `what` is for people, in English."""

    key: str
    n: int
    scheduled_s: float
    what: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result. All three lists of violations must be empty."""

    compared: int
    lost: tuple[Violation, ...]
    duplicated: tuple[Violation, ...]
    appeared: tuple[Violation, ...]
    unknown_present: int
    unknown_absent: int

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing duplicated, nothing refused that is there."""
        return not (self.lost or self.duplicated or self.appeared)


HEADER = ["key", "digest", "decision"]

Judge = Callable[[Entry, list[Row]], str]
"""Says what is wrong with a write and its rows; empty when nothing is."""


def parse_rows(text: str) -> tuple[Row, ...]:
    """CSV with the header `key,digest,decision`; Unreadable with the line's number when it is of another shape."""
    reader = csv.reader(io.StringIO(text))
    if next(reader, None) != HEADER:
        raise Unreadable(f"the database's list must begin with {','.join(HEADER)}")
    rows = []
    for number, fields in enumerate(reader, start=2):
        if len(fields) != len(HEADER):
            raise Unreadable(f"the database's list, line {number}: {len(fields)} fields instead of {len(HEADER)}")
        rows.append(Row(key=fields[0].lower(), digest=fields[1].strip(), decision=fields[2]))
    return tuple(rows)


def compare(ledger: Ledger, rows: Iterable[Row]) -> Comparison:
    """Holds every write of the ledger against the rows."""
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
        return "acknowledged, and absent from the database"
    said = {a.decision for a in entry.attempts if a.outcome is Outcome.ACKNOWLEDGED}
    if len(said) > 1:
        return f"acknowledged with different decisions: {', '.join(sorted(map(str, said)))}"
    if any(row.digest != entry.digest for row in rows):
        return "acknowledged, and the database holds another content"
    if any(row.decision not in said for row in rows):
        return f"acknowledged as {next(iter(said))}, and the database holds {rows[0].decision}"
    return ""


def _duplicated(entry: Entry, rows: list[Row]) -> str:
    return f"{len(rows)} rows for one key" if len(rows) > 1 else ""


def _appeared(entry: Entry, rows: list[Row]) -> str:
    if rows and entry.outcome is Outcome.REFUSED and not entry.may_be_written:
        return "refused at every attempt, and present in the database"
    return ""
