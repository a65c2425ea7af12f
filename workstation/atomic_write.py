"""Write a file completely or not at all: a full disk or a power loss never leaves a truncated file.

The content goes to a draft in the same folder. It is synced to the disk before the draft gets the file's name, and the
folder is synced after that. After an error the draft is removed and the file is unchanged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Create or replace the file. If `path` is a symbolic link, replace the file that it names."""
    target = path.resolve()
    with _draft_of(target) as draft:
        _fill(draft, content, mode)
        draft.replace(target)
        sync(target.parent)


def create(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Create the file, unless it exists. If two processes create it at once, both find the content of one of them."""
    with _draft_of(path) as draft:
        _fill(draft, content, mode)
        with suppress(FileExistsError):
            path.hardlink_to(draft)
            sync(path.parent)


def link(path: Path, target: Path | str) -> None:
    """Create the symbolic link, or replace it by a link to another target."""
    with replacing(path, durable=False) as draft:
        draft.symlink_to(target)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield the path at which the block, or a program that it runs, creates the draft of the file.

    With `durable`, the new file also survives a power loss.
    """
    with _draft_of(path) as draft:
        yield draft
        if durable:
            sync(draft)
        draft.replace(path)
        if durable:
            sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the file's content, or the folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Yield a name that no other thread uses, in the same folder. Remove it at the end of the block if it exists."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.unlink(missing_ok=True)  # left by a killed process with the same ID
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _fill(draft: Path, content: str | bytes, mode: int) -> None:
    data = content.encode() if isinstance(content, str) else content
    draft.touch(mode=0o600, exist_ok=False)  # until it has its mode, only the owner may read the content
    with draft.open("wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
