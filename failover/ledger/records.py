"""Parses a ledger's lines into typed values.

A line is a header, a footer or an entry. If two entries have the same kind and number, the later one is valid: a write
is recorded when it is first sent and again when its last attempt has ended. A killed load generator can only truncate
the last line; the parser drops it and marks the ledger as incomplete. Damage anywhere else makes the whole ledger
unreadable, because figures from half a ledger would look too good.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class Unreadable(Exception):
    """The ledger is damaged; the message names the line and the cause."""


class Outcome(StrEnum):
    """The outcome of one attempt, or of all attempts of a key."""

    ACKNOWLEDGED = "acknowledged"
    """Answered 200 or 201."""
    REFUSED = "refused"
    """Answered, and the answer says that no decision was made."""
    UNKNOWN = "unknown"
    """No answer, or an answer that does not say whether a decision was made."""


CLEAR_503 = frozenset({"no_primary", "overloaded", "unprotected"})
"""Codes of a 503 that say: no row was written. Any other server error may or may not have written a row."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a request. Times are seconds after the run's start."""

    sent_s: float
    answered_s: float | None = None
    status: int | None = None
    error: str | None = None
    code: str | None = None
    site: str | None = None
    decision: str | None = None
    digest: str | None = None
    timeline: int | None = None
    lsn: str | None = None

    @property
    def outcome(self) -> Outcome:
        """See `Outcome`. An attempt that was never sent counts as refused by the load generator itself."""
        if self.status in (200, 201):
            return Outcome.ACKNOWLEDGED
        if self.never_sent:
            return Outcome.REFUSED
        if self.status is None:
            return Outcome.UNKNOWN
        if self.status < 500 or (self.status == 503 and self.code in CLEAR_503):
            return Outcome.REFUSED
        return Outcome.UNKNOWN

    @property
    def never_sent(self) -> bool:
        """True if the load generator had too many open requests. This is its own fault, not the service's."""
        return self.status is None and (self.error or "").startswith("not sent")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """All attempts of one scheduled request. `digest` is None for reads."""

    n: int
    kind: Literal["write", "read"]
    family: int
    key: str
    digest: str | None
    scheduled_s: float
    attempts: tuple[Attempt, ...]

    @property
    def first_acknowledged(self) -> bool:
        """True if the first attempt was answered 200 or 201."""
        return bool(self.attempts) and self.attempts[0].outcome is Outcome.ACKNOWLEDGED

    @property
    def outcome(self) -> Outcome:
        """Acknowledged if any attempt was acknowledged, unknown if no attempt got a clear answer, otherwise refused."""
        outcomes = {attempt.outcome for attempt in self.attempts}
        if Outcome.ACKNOWLEDGED in outcomes:
            return Outcome.ACKNOWLEDGED
        return Outcome.REFUSED if Outcome.REFUSED in outcomes else Outcome.UNKNOWN

    @property
    def may_be_written(self) -> bool:
        """True if the outcome of an attempt is unknown. The row may then be present or absent without an error."""
        return any(attempt.outcome is Outcome.UNKNOWN for attempt in self.attempts)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger of one run. `entries` are sorted by scheduled time.

    `complete` is False if the load generator did not end normally or the last line is truncated.
    """

    rate_per_s: float
    started_wall_s: float
    header: dict[str, Any]
    entries: tuple[Entry, ...]
    complete: bool

    @property
    def interval_s(self) -> float:
        """Seconds between two scheduled requests of one kind."""
        return 1.0 / self.rate_per_s

    def of(self, kind: str) -> tuple[Entry, ...]:
        """Return the entries of one kind, sorted by scheduled time."""
        return tuple(entry for entry in self.entries if entry.kind == kind)


def parse(text: str) -> Ledger:
    """Parse a ledger. Raises Unreadable if the header is missing, or if any line except the last one is damaged."""
    lines = text.split("\n")
    cut = lines.pop() != ""
    header: dict[str, Any] | None = None
    complete = False
    entries: dict[tuple[str, int], Entry] = {}
    for number, line in enumerate(lines, start=1):
        value = _object(line, number)
        kind = value.get("kind")
        if kind == "header":
            header = value
        elif kind == "footer":
            complete = True
        else:
            entry = _entry(value, number)
            entries[entry.kind, entry.n] = entry
    if header is None:
        raise Unreadable("the ledger has no header line: the load generator ended before it began to send")
    return Ledger(
        rate_per_s=_positive(header, "rate_per_s"), started_wall_s=_positive(header, "started_wall_s"), header=header,
        entries=tuple(sorted(entries.values(), key=lambda e: (e.scheduled_s, e.kind, e.n))),
        complete=complete and not cut,
    )  # fmt: skip


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise Unreadable(f"line {number} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreadable(f"line {number} is not a JSON object")
    return value


def _positive(header: dict[str, Any], name: str) -> float:
    value = header.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise Unreadable(f"the header's {name} is {value!r}; it must be a number above 0")
    return float(value)


ATTEMPT_FIELDS = frozenset(Attempt.__dataclass_fields__)


def _entry(value: dict[str, Any], number: int) -> Entry:
    try:
        kind = value["kind"]
        if kind not in ("write", "read"):
            raise Unreadable(f"line {number}: unknown kind {kind!r}")
        attempts = tuple(Attempt(**{k: v for k, v in a.items() if k in ATTEMPT_FIELDS}) for a in value["attempts"])
        return Entry(
            n=int(value["n"]), kind=kind, family=int(value["family"]), key=str(value["key"]),
            digest=value["digest"], scheduled_s=float(value["scheduled_s"]), attempts=attempts,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"line {number}: {type(error).__name__} {error}") from error
