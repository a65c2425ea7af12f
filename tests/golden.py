"""Rendered text that an engineer has read once, and every change of it afterwards."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "unit" / "golden"


def same(text: str, path: str) -> None:
    """Compare with the golden file of that path, or write it where GOVCLOUD_GOLDEN=write asks for that."""
    file = FOLDER / path
    if os.environ.get("GOVCLOUD_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
