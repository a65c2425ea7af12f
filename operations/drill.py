"""Runs a drill, and finds the reports of past drills. `run` must run where the hosts are reachable."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from estate.model import Estate
from failover import drills
from failover.drills import DrillOptions, DrillResult, Event
from operations import adapters
from operations.locks import block_deployment
from workstation.errors import GovcloudError, validated_choice

logger = logging.getLogger(__name__)


def run(
    name: str, estate: Estate, options: DrillOptions, *, home: Path, on_event: Callable[[Event], None]
) -> DrillResult:
    """Run the drill and write its report. Raises WrongUse, Locked, Refused and RolledBack."""
    logger.info("drill %s: %s", name, options)
    with block_deployment():
        return drills.run(name, estate, adapters.drill_interfaces(estate), home, options, on_event=on_event)


def finished(home: Path) -> list[str]:
    """Return the IDs of finished drills, the oldest first."""
    folder = home / "drills"
    return sorted(p.parent.name for p in folder.glob("*/report.json")) if folder.is_dir() else []


def report_folder(home: Path, run_id: str | None) -> Path:
    """Return the folder of a finished drill, or of the newest one. Raises WrongUse for an unknown ID, and
    GovcloudError if no drill has been finished."""
    known = finished(home)
    if not known:
        raise GovcloudError("no drill has been finished here", "run `./govcloud drill run site-loss`")
    return home / "drills" / (known[-1] if run_id is None else validated_choice(run_id, known, "drill report"))


def report_page(folder: Path, lang: str) -> Path:
    """Return the page of a drill's report. Raises GovcloudError if it is missing."""
    page = folder / f"report.{lang}.html"
    if not page.is_file():
        raise GovcloudError(f"{page} is missing", "name another report, or run the drill again")
    return page


def report_document(folder: Path) -> dict[str, Any]:
    """Return the object of a drill's report. Raises GovcloudError if it is damaged."""
    file = folder / "report.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise GovcloudError(f"{file} is damaged: it is not a report", "name another report, or run the drill again")
    return document
