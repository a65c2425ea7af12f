"""What stays of old drills: every report, and the raw values of the newest runs.

A report is small and is evidence for years. A ledger and the database's rows take megabytes, and are looked at again
while a drill is fresh.
"""

from __future__ import annotations

from pathlib import Path

RAW = ("ledger.jsonl", "rows.csv")
KEPT_RUNS = 50


def prune(drills: Path, kept: int = KEPT_RUNS) -> tuple[str, ...]:
    """Remove the raw values of all but the newest `kept` finished runs; answers the runs that lost theirs.

    A run without a report is left alone: it was interrupted, and what it left is needed to take it back.
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
