"""One call of the command line, as the tests see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """What a call left: exit code, standard output, standard error."""

    code: int
    output: str
    words: str

    @property
    def document(self) -> dict[str, Any]:
        """The one object on standard output."""
        value = json.loads(self.output)
        assert isinstance(value, dict)
        return value


Call = Callable[..., Done]
