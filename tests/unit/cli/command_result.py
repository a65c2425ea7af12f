"""One call of the command line, as the tests see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CommandResult:
    """What a call left: exit code, standard output, standard error."""

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
