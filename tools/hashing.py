"""Keys of builds: the same inputs give the same key, so that a second run finds the finished build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

LENGTH = 16
"""Characters of a key: 64 bits. That is enough for a few builds on one machine, and short enough for a path."""


def hash_of(*parts: str | Path | Iterable[Path]) -> str:
    """Return the key of texts and of the contents of files. A folder means all its files, with names and modes."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            sha.update(b"text\0" + part.encode() + b"\0")
            continue
        for root in [part] if isinstance(part, Path) else sorted(part):
            for path in _files(root):
                mode = "x" if path.stat().st_mode & 0o100 else "-"
                sha.update(f"file\0{path.relative_to(root)}\0{mode}\0".encode() + path.read_bytes() + b"\0")
    return sha.hexdigest()[:LENGTH]


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
