"""Retention of drill data: keep every report, and the raw data of the newest runs.

A report is small and is evidence for years. A ledger and the database's rows take megabytes, and operators need them
only while a drill is recent.
"""

from __future__ import annotations

from pathlib import Path

RAW = ("ledger.jsonl", "rows.csv")
KEPT_RUNS = 50


def prune(drills: Path, kept: int = KEPT_RUNS) -> tuple[str, ...]:
    """Delete the raw data of all finished runs except the newest `kept`. Returns the runs whose data was deleted.

    A run without a report is not touched: it was interrupted, and its journal is needed to undo it.
    """
    finished = sorted(file.parent for file in drills.glob("*/report.json"))
    pruned = []
    for folder in finished[:-kept]:
        raw = [folder / name for name in RAW if (folder / name).exists()]
        for file in raw:
            file.unlink()
        if raw:
            pruned.append(folder.name)
    return tuple(pruned)
