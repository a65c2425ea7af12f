"""The stacks' checkpoints: where they lie, whether they are whole, the copy that is kept of each, and the way back.

The backend's library puts half a file in the place of a whole one when the disk is full: it sums up what it is to write
and not what it wrote, so it finds nothing wrong. At its next write the backend makes its `.bak` of that half. So a copy
is kept that only we write, and it is written before anything that a later half file may not forget: the provider keeps
one before it changes a host (`keep`). What a host has got, a password above all, stands in a whole file on the disk.
See docs/decisions/0014.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stacks.state.state_files import PROJECT, checkpoint, state_home, write_atomically
from workstation.errors import GovcloudError

Say = Callable[[str], None]

_backup_lock = threading.Lock()
"""Of two hosts that begin together, the one that read later also writes later."""


class TruncatedCheckpoint(GovcloudError):
    """A checkpoint is half a file."""


@dataclass(frozen=True, kw_only=True)
class IntactCheckpoint:
    """A checkpoint that can be read. `saved` is when the engine made it; the beginning of time for an empty stack."""

    path: Path
    content: bytes
    saved: datetime


def backup_path(stack: str) -> Path:
    """Our copy of it. It lies with the backend's files, so that it is set aside and brought back with them."""
    return state_home() / ".pulumi" / "kept" / f"{stack}.json"


def truncated_path(stack: str) -> Path:
    """Where the last half file was put, for whoever wants to look at it."""
    return backup_path(stack).with_suffix(".half")


def saved_at(content: bytes) -> datetime | None:
    """When the engine made this checkpoint; None where it is not whole."""
    try:
        latest = json.loads(content)["checkpoint"].get("latest")
        return _time(latest) if latest else datetime.min.replace(tzinfo=UTC)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _time(latest: dict[str, Any]) -> datetime:
    told = (latest.get("manifest") or {}).get("time")
    return datetime.fromisoformat(told).astimezone(UTC) if told else datetime.min.replace(tzinfo=UTC)


def latest(stack: str) -> dict[str, Any]:
    """The stack as the engine saved it last, secrets encrypted; empty where there is none.

    Raises `TruncatedCheckpoint`.
    """
    content = _read(checkpoint(stack))
    if content is None:
        return {}
    if saved_at(content) is None:
        raise TruncatedCheckpoint(
            f"the state of {stack} is half a file ({checkpoint(stack)}): the disk was full, or the machine lost power",
            "run `./govcloud up`: it takes the last whole one and compares every host with it",
        )
    return dict(json.loads(content)["checkpoint"].get("latest") or {})


def is_intact(stack: str) -> bool:
    """Whether it can be read; also where there is none."""
    content = _read(checkpoint(stack))
    return content is None or saved_at(content) is not None


def require_intact(stacks: Iterable[str]) -> None:
    """Raises `TruncatedCheckpoint` for half a file."""
    for stack in stacks:
        latest(stack)


def back_up(stack: str) -> None:
    """Copy the checkpoint, which must be whole. On the disk when this returns. Raises `TruncatedCheckpoint`."""
    with _backup_lock:
        content = _read(checkpoint(stack))
        if content is None:
            return
        if saved_at(content) is None:
            message = f"the state of {stack} was not written whole: the disk under {state_home()} is full"
            raise TruncatedCheckpoint(message, "")
        if _read(backup_path(stack)) != content:
            backup_path(stack).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(backup_path(stack), content)


def repair(stack: str, say: Say) -> None:
    """Put the newest whole copy in the place of half a file, which is set aside. Call while nobody else writes.

    Where nothing was ever kept, the stack was being made and no host has got anything of it: it is made anew. Raises
    `TruncatedCheckpoint` where something was, and none of it is whole.
    """
    if is_intact(stack):
        return
    found = list(backups(stack))
    intact = [one for path in found if (one := _intact(path))]
    if found and not intact:
        raise TruncatedCheckpoint(
            f"the state of {stack} is half a file, and so is every copy of it here; what it held is in use",
            "`./govcloud state list` shows which operations host holds a copy; bring it back with "
            "`./govcloud state restore --from HOST --replace-newer`",
        )
    backup_path(stack).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not intact:
        checkpoint(stack).replace(truncated_path(stack))
        say(f"{stack}: half a file is all that there was of its state, from before its first resource; it begins anew")
        return
    newest = max(intact, key=lambda one: one.saved)
    write_atomically(truncated_path(stack), checkpoint(stack).read_bytes())
    write_atomically(checkpoint(stack), newest.content)
    say(
        f"{stack}: its state was half a file; taken from {newest.path}, saved {newest.saved:%Y-%m-%d %H:%M:%S} UTC; "
        "what was done after that is compared and done again"
    )


def backups(stack: str) -> Iterator[Path]:
    """Every file that may hold an earlier state of the stack: ours, and the backend's own."""
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
