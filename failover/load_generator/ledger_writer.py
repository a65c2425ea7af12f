"""The ledger as it is written: one JSON object on a line, flushed at once, so that a killed load generator leaves all
it knew.

A write is entered when it is first sent and again when its last attempt has ended; of two lines with the same kind and
number the later one holds. A reader must accept that the very last line is cut off.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(kw_only=True)
class Attempt:
    """One try of a request. Times are seconds after the run's start; what did not come is None."""

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
    """An append-only ledger file. It refuses to write over an older one (FileExistsError)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def header(self, **values: Any) -> None:
        """The first line: what the run was told, and the wall clock at its start."""
        self._line({"kind": "header", **values})

    def footer(self, **values: Any) -> None:
        """The last line; a ledger without it was cut off."""
        self._line({"kind": "footer", **values})

    def write_entry(self, entry: Entry) -> None:
        """Writes the entry as it stands now."""
        self._line(asdict(entry))

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()
