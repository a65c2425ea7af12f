"""The one JSON object of a `--json` command. It imports nothing of the project, because the root of the command line
needs it too."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: dict[str, Any]) -> None:
    """Print the object on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))
