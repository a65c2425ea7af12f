"""Programs that roles install on hosts as they stand: standard library of Python 3.9 only, no import of each other."""

from __future__ import annotations

from pathlib import Path

DIRECTORY = "/usr/local/lib/govcloud"
"""Where they lie on a host."""


def source(name: str) -> str:
    """The program's source, to be installed under `DIRECTORY` without its suffix."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
