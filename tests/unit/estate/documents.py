"""The project's own estate as a document that a test may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from estate.loader import parse
from estate.problems import Problem
from estate.tables import to_yaml

Document = dict[str, Any]
Refused = Callable[[Document], tuple[Problem, ...]]

SOUND: Document = yaml.safe_load(to_yaml(parse()[0]))


def named(entries: list[Document], name: str) -> Document:
    """Return the entry of that name."""
    return next(entry for entry in entries if entry["name"] == name)


def only(problems: tuple[Problem, ...], key: str) -> Problem:
    """Return the only problem at that key path."""
    found = [problem for problem in problems if problem.key == key]
    assert len(found) == 1, "\n".join(map(str, problems))
    return found[0]
