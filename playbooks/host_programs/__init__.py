"""Programs that roles install on hosts unchanged. They use only Python 3.9's standard library, and not each other."""

from __future__ import annotations

from pathlib import Path

DIRECTORY = "/usr/local/lib/govcloud"
"""Folder of the programs on a host."""


def source(name: str) -> str:
    """Return the program's source. It is installed under `DIRECTORY` without its suffix."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
