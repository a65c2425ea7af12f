"""A temporary folder of one run. The run holds a lock on it, so a folder without a lock was left by a killed run.

A process ID would not work: a bake runs in a namespace with other process IDs, and sees the same temporary directory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workstation import file_lock

PREFIX = "govcloud-ansible-"


@contextmanager
def temp_workspace() -> Iterator[Path]:
    """Create a folder and remove it at the end.

    First remove the folders that no run has locked any more, because they may contain secrets.
    """
    remove_abandoned()
    path, descriptor = _make()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def remove_abandoned() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if file_lock.try_lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _make() -> tuple[Path, int]:
    """Return the folder and the descriptor of its lock. Try again if another run removed the folder before the lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            file_lock.lock(descriptor)
            if path.exists():
                return path, descriptor
            os.close(descriptor)
