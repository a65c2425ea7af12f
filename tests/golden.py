"""Golden files: rendered text that an engineer has reviewed, so that every later change of it is visible."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "unit" / "golden"


def same(text: str, path: str) -> None:
    """Compare the text with the golden file of this path. With GOVCLOUD_GOLDEN=write, write the file first."""
    file = FOLDER / path
    if os.environ.get("GOVCLOUD_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
