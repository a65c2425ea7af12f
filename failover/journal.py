"""The journal of a drill: each change is on disk before the drill makes it.

The next run uses it to find and undo the changes of a killed run. Each line is one JSON object, synced to disk before
the caller continues. An act that must not outlast its run carries its undo as data. The undo stays *open* until a
later line records that it was done.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from workstation import atomic_write

logger = logging.getLogger(__name__)
NAME = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Undo:
    """How to undo an act: a kind that `drills.undo` knows, and its target."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.target}"


class Journal:
    """The journal of one run, in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        folder.mkdir(parents=True, exist_ok=True)

    def note(self, phase: str, step: str, *, undo: Undo | None = None, detail: str = "") -> None:
        """Write one line and sync it to disk. Phases: begin, acted, done, failed, undone, end.

        Raise OSError if the line is not complete on the disk: its act must not begin.
        """
        line: dict[str, Any] = {"at": round(time.time(), 3), "pid": os.getpid(), "phase": phase, "step": step}
        if undo:
            line["undo"] = asdict(undo)
        if detail:
            line["detail"] = detail
        logger.debug("%s: %s %s", phase, step, detail)
        with self.path.open("ab+", buffering=0) as file:
            data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
            if _is_cut(file):
                data = b"\n" + data
            if (written := file.write(data)) != len(data):  # the system reports a full disk only for the next byte
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written", str(self.path))
            os.fsync(file.fileno())
        atomic_write.sync(self.path.parent)

    def open_undos(self) -> tuple[Undo, ...]:
        """Return the undos that are still to be done, the latest act first."""
        if not self.path.exists():
            return ()
        return still_open(read(self.path.read_text(encoding="utf-8", errors="replace")))


def _is_cut(file: FileIO) -> bool:
    """Return whether the file's last line is incomplete. A line after it would be damaged too."""
    size = os.fstat(file.fileno()).st_size
    return size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"


def read(text: str) -> list[dict[str, Any]]:
    """Return the journal's lines without damaged ones.

    A damaged line was being written when the power failed or the process ended. Its act had not begun yet.
    """
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def still_open(lines: Iterable[dict[str, Any]]) -> tuple[Undo, ...]:
    """Return the undos that have a `begin` line and no later `undone` line, the latest first. Pure."""
    pending: dict[Undo, None] = {}
    for line in lines:
        values = line.get("undo")
        if not isinstance(values, dict) or not {"kind", "target"} <= values.keys():
            continue
        undo = Undo(kind=str(values["kind"]), target=str(values["target"]))
        if line.get("phase") == "begin":
            pending[undo] = None
        elif line.get("phase") == "undone":
            pending.pop(undo, None)
    return tuple(reversed(pending))


def journals(drills: Path) -> tuple[Journal, ...]:
    """Return the journals of all runs below the folder, the oldest first."""
    return tuple(Journal(path.parent) for path in sorted(drills.glob(f"*/{NAME}"), key=lambda p: p.stat().st_mtime))
