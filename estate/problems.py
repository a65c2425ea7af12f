"""What is wrong with an estate, in the reader's words: file, key path, value, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: the key path and the value that is found there. `message` ends with the remedy.

    A rule knows only the key path: `estate.checks.check` adds the file.
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
    """The estate cannot be used. `problems` holds all that was found; `waiting` rules could not be checked before some
    of it is mended. `path` is the estate that was asked for, None for the project's own.
    """

    def __init__(self, problems: Iterable[Problem], *, waiting: int = 0, path: Path | None = None) -> None:
        self.problems, self.waiting, self.path = tuple(problems), waiting, path
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which file each top-level key came from, so that rules can name the file."""

    files: dict[str, str]
    fallback: str

    def file_of(self, key: str) -> str:
        """The file in which the key path's first part stands."""
        return self.files.get(key.split(".")[0].split("[")[0], self.fallback)
