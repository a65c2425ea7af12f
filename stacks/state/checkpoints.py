"""The stacks' checkpoints: find a truncated one, back up an intact one, and repair the first from the second.

On a full disk, the library of Pulumi's file backend replaces an intact checkpoint with a truncated one. It computes the
checksum of the content that it wants to write, not of the written file, so it detects no error. At its next write the
backend copies the truncated file to its `.bak`. So we keep a backup that only our code writes. The provider writes it
before it changes a host (`back_up`). A secret that a host has received, above all a password, is then in an intact file
on the disk. See docs/decisions/0014.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stacks.state.state_files import PROJECT, checkpoint, state_home
from workstation import atomic_write
from workstation.errors import GovcloudError

Say = Callable[[str], None]

_backup_lock = threading.Lock()
"""Two hosts may start at the same time. The lock makes sure that the later read is also the later write."""


class TruncatedCheckpoint(GovcloudError):
    """A checkpoint file is incomplete."""


@dataclass(frozen=True, kw_only=True)
class IntactCheckpoint:
    """A readable checkpoint. `saved` is the time when the engine made it, or `datetime.min` for an empty stack."""

    path: Path
    content: bytes
    saved: datetime


def backup_path(stack: str) -> Path:
    """Path of our backup. It is in the backend's folder, so it is set aside and restored together with the backend's
    files.
    """
    return state_home() / ".pulumi" / "kept" / f"{stack}.json"


def truncated_path(stack: str) -> Path:
    """Path to which `repair` moves the last truncated checkpoint, so that the operator can examine it."""
    return backup_path(stack).with_suffix(".half")


def saved_at(content: bytes) -> datetime | None:
    """Return when the engine made this checkpoint, or None if the content is truncated."""
    try:
        latest = json.loads(content)["checkpoint"].get("latest")
        return _time(latest) if latest else datetime.min.replace(tzinfo=UTC)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _time(latest: dict[str, Any]) -> datetime:
    time = (latest.get("manifest") or {}).get("time")
    return datetime.fromisoformat(time).astimezone(UTC) if time else datetime.min.replace(tzinfo=UTC)


def latest(stack: str) -> dict[str, Any]:
    """Return the stack as the engine saved it last, with encrypted secrets. It is empty if there is no checkpoint.

    Raise `TruncatedCheckpoint` if the file is incomplete.
    """
    content = _read(checkpoint(stack))
    if content is None:
        return {}
    if saved_at(content) is None:
        raise TruncatedCheckpoint(
            f"the state of {stack} is truncated ({checkpoint(stack)}): the disk was full, or the machine lost power",
            "run `./govcloud up`: it restores the newest intact backup and compares every host with it",
        )
    return dict(json.loads(content)["checkpoint"].get("latest") or {})


def is_intact(stack: str) -> bool:
    """Whether the checkpoint can be read. A stack without a checkpoint counts as intact."""
    content = _read(checkpoint(stack))
    return content is None or saved_at(content) is not None


def require_intact(stacks: Iterable[str]) -> None:
    """Raise `TruncatedCheckpoint` if a checkpoint is incomplete."""
    for stack in stacks:
        latest(stack)


def back_up(stack: str) -> None:
    """Copy the checkpoint to `backup_path`. The copy is synced to the disk when this returns.

    Raise `TruncatedCheckpoint` if the checkpoint is incomplete.
    """
    with _backup_lock:
        content = _read(checkpoint(stack))
        if content is None:
            return
        if saved_at(content) is None:
            message = f"the state of {stack} was written incompletely: the disk under {state_home()} is full"
            raise TruncatedCheckpoint(message, "")
        if _read(backup_path(stack)) != content:
            backup_path(stack).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic_write.write(backup_path(stack), content)


def repair(stack: str, say: Say) -> None:
    """Replace a truncated checkpoint with the newest intact backup. Call it only while no other process writes.

    The truncated file is set aside. If there is no backup at all, the stack was just being created and no host has
    received anything from it. Then only the truncated file is moved away and the stack starts empty. Raise
    `TruncatedCheckpoint` if there are backups and none is intact.
    """
    if is_intact(stack):
        return
    found = list(backups(stack))
    intact = [one for path in found if (one := _intact(path))]
    if found and not intact:
        raise TruncatedCheckpoint(
            f"the state of {stack} is truncated, and so is every backup of it here; the hosts use its secrets",
            "`./govcloud state list` shows which operations host holds a backup; restore it with "
            "`./govcloud state restore --from HOST --replace-newer`",
        )
    backup_path(stack).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not intact:
        checkpoint(stack).replace(truncated_path(stack))
        say(f"{stack}: its state was truncated before its first resource was created; the stack starts again, empty")
        return
    newest = max(intact, key=lambda one: one.saved)
    atomic_write.write(truncated_path(stack), checkpoint(stack).read_bytes())
    atomic_write.write(checkpoint(stack), newest.content)
    say(
        f"{stack}: its state was truncated; restored from {newest.path}, saved {newest.saved:%Y-%m-%d %H:%M:%S} UTC; "
        "changes made after that time are compared and repeated"
    )


def backups(stack: str) -> Iterator[Path]:
    """Yield every existing file that may contain an earlier state of the stack: our backup and the backend's own
    copies.
    """
    root = state_home() / ".pulumi"
    own = (backup_path(stack), checkpoint(stack).with_suffix(".json.bak"))
    yield from (path for path in own if path.exists())
    yield from (root / "history" / PROJECT / stack).glob("*.checkpoint.json")
    yield from (root / "backups" / PROJECT / stack).glob("*.json")


def _intact(path: Path) -> IntactCheckpoint | None:
    content = _read(path)
    saved = None if content is None else saved_at(content)
    return IntactCheckpoint(path=path, content=content, saved=saved) if content is not None and saved else None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
