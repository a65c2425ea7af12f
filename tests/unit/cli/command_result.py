"""The result of one call of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CommandResult:
    """Exit code, standard output and standard error of a call."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one object on standard output."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value


Call = Callable[..., CommandResult]
