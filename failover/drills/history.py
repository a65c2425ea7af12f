"""The drills that were run here: each left a report, or only a journal if it did not end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failover import journal
from failover.result import Verdict

REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One run. `report` is the path of its page, or None if the page is missing.

    `verdict`, `scenario`, `site` and `target` are None if the run has no report, or if its report cannot be read
    (`damaged`). `site` is also None if the drill lost no site. The target of an old report is its site.
    """

    id: str
    folder: Path
    scenario: str | None
    site: str | None
    target: str | None
    verdict: Verdict | None
    damaged: bool
    write_outage_s: float | None
    report: Path | None


def runs(drills: Path, lang: str) -> tuple[PastRun, ...]:
    """Return every run below `drills`, the newest first: a folder's name begins with its time."""
    folders = {file.parent for name in (REPORT, journal.NAME) for file in drills.glob(f"*/{name}")}
    return tuple(_run(folder, lang) for folder in sorted(folders, key=lambda folder: folder.name, reverse=True))


def _run(folder: Path, lang: str) -> PastRun:
    document, page = _document(folder / REPORT), folder / f"report.{lang}.html"
    verdict, measured = document.get("verdict"), document.get("measured")
    outage = measured.get("write_outage_s") if isinstance(measured, dict) else None
    return PastRun(
        id=folder.name,
        folder=folder,
        scenario=_text(document.get("scenario")),
        site=_text(document.get("site")),
        target=_text(document.get("target", document.get("site"))),
        verdict=Verdict(verdict) if verdict in set(Verdict) else None,
        damaged=(folder / REPORT).is_file() and verdict not in set(Verdict),
        write_outage_s=float(outage) if isinstance(outage, int | float) else None,
        report=page if page.is_file() else None,
    )


def _document(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
