"""Problems of an estate: file, key path, value and next step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem: the key path and the value at it. `message` ends with the remedy.

    A rule knows only the key path. `estate.checks.check` adds the file.
    """

    file: str = ""
    key: str
    value: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.message}" + (f" (found: {self.value})" if self.value else "")


Problems = Iterator[Problem]


class EstateError(Exception):
    """The estate cannot be used. `problems` contains all found problems.

    `waiting` is the number of rules that could not be checked before a problem is corrected. `path` is the requested
    estate, None for the project's own.
    """

    def __init__(self, problems: Iterable[Problem], *, waiting: int = 0, path: Path | None = None) -> None:
        self.problems, self.waiting, self.path = tuple(problems), waiting, path
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file of each top-level key, so that problems can name the file."""

    files: dict[str, str]
    fallback: str

    def file_of(self, key: str) -> str:
        """Return the file with the first part of the key path."""
        return self.files.get(key.partition(".")[0].partition("[")[0], self.fallback)
