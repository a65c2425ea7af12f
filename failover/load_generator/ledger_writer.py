"""Writes the ledger: one JSON object on each line.

Each line is flushed at once, so that a killed load generator leaves everything it had recorded. A write is recorded
when it is first sent and again when its last attempt has ended. If two lines have the same kind and number, the later
one is valid. A reader must accept a truncated last line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(kw_only=True)
class Attempt:
    """One attempt of a request. Times are seconds after the run's start. Without an answer the fields are None."""

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


@dataclass(kw_only=True)
class Entry:
    """All attempts of one scheduled request."""

    n: int
    kind: str
    family: int
    key: str
    digest: str | None
    scheduled_s: float
    attempts: list[Attempt] = field(default_factory=list)


class LedgerWriter:
    """An append-only ledger file. It does not overwrite an existing file (FileExistsError)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def header(self, **values: Any) -> None:
        """Write the first line: the settings of the run, and the wall clock at its start."""
        self._line({"kind": "header", **values})

    def footer(self, **values: Any) -> None:
        """Write the last line. A ledger without it is not complete."""
        self._line({"kind": "footer", **values})

    def write_entry(self, entry: Entry) -> None:
        """Write the entry in its present state."""
        self._line(asdict(entry))

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()
