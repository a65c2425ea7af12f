"""The text of `drill list`: the available drills and the past runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from failover.drills.history import PastRun
from failover.report.messages import message, page_messages

SHOWN = 20
"""Number of runs that fit on a screen; `--json` has all."""


def drill_list(drills: Sequence[dict[str, Any]], past: Sequence[PastRun], lang: str) -> str:
    """Return the drills, a blank line, and the newest runs. `lang` is zh or en."""
    lines = []
    for drill in drills:
        takes = message("runs", "expected", lang, minutes=f"{drill['expected_s'] / 60:.2g}")
        option = "" if drill["target"] == "primary" else f", --target {drill['target'].upper()}"
        lines += [f"{drill['name']}  {drill['title']} ({takes}{option})", f"    {drill['summary']}"]
    lines += ["", message("runs", "head" if past else "none", lang)]
    for run in past[:SHOWN]:
        lines += _run(run, lang)
    if len(past) > SHOWN:
        lines.append(f"  {message('runs', 'older', lang, count=len(past) - SHOWN)}")
    return "\n".join(lines)


def _run(run: PastRun, lang: str) -> list[str]:
    no_verdict = message("runs", "damaged" if run.damaged else "unfinished", lang)
    verdict = page_messages(lang)[run.verdict.value] if run.verdict else no_verdict
    outage = (
        message("runs", "outage", lang, seconds=f"{run.write_outage_s:g}") if run.write_outage_s is not None else ""
    )
    where = str(run.report) if run.report else message("runs", "no_report", lang, folder=run.folder)
    return [f"  {run.id}  {verdict}" + (f" · {outage}" if outage else ""), f"    {where}"]
