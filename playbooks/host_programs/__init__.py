"""Programs that run on hosts, unchanged. They use only the standard library of Python 3.11, and not each other.

Roles install them, except `managed`, which Ansible and the comparison send.
"""

from __future__ import annotations

from pathlib import Path

DIRECTORY = "/usr/local/lib/govcloud"
"""Folder of the programs on a host."""


def source(name: str) -> str:
    """Return the program's source. It is installed under `DIRECTORY` without its suffix."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
