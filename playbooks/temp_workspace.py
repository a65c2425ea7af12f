"""A temporary folder of one run. Its owner holds a lock on it: thus what a killed one left is told from what is used.

A process's number would not do: a bake runs where processes have other numbers, and sees the same temporary directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "govcloud-ansible-"


@contextmanager
def temp_workspace() -> Iterator[Path]:
    """A new folder that is gone afterwards, and with it those that nobody holds any more: they may hold secrets."""
    remove_abandoned()
    path, held = _make()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def remove_abandoned() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


def _make() -> tuple[Path, int]:
    """The folder and the descriptor that holds it; once more where another's clean-up came before the lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError):
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if path.exists():
                return path, held
            os.close(held)
