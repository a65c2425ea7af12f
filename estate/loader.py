"""Load an estate: read its files, parse them once, check the rules, and report all problems together."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from estate import files, validation_messages
from estate.checks import advise, check
from estate.files import EstateFiles
from estate.lenient import parse_leniently
from estate.model import Estate
from estate.problems import EstateError, Problem, Source
from estate.validation_messages import MAX_PROBLEMS

__all__ = ["DATA", "MAX_PROBLEMS", "EstateError", "Problem", "Source", "advice", "load", "parse"]

DATA = Path(__file__).parent / "data"


def load(path: Path | None = None) -> Estate:
    """Return the estate at `path`, a file or a folder, after all checks. None means the project's own estate.

    Raises `EstateError` with every problem: in the files, in their fields, and in the part that the rules can read.
    """
    source_files = files.read(path or DATA)
    problems: tuple[Problem, ...] = ()
    try:
        estate = _validated(source_files)
    except EstateError as error:
        estate, problems = parse_leniently(Estate, source_files.document), error.problems
    rule_problems, waiting = check(estate, source_files.source)
    if problems or rule_problems:
        raise EstateError([*problems, *rule_problems], waiting=waiting, path=path)
    return estate


def advice(path: Path | None = None) -> list[Problem]:
    """Return values of a valid estate that are probably not intended. Raises `EstateError` if it cannot be parsed."""
    return advise(*parse(path))


def parse(path: Path | None = None) -> tuple[Estate, Source]:
    """Parse an estate without the rules of `estate.checks`. Raises `EstateError`."""
    source_files = files.read(path or DATA)
    return _validated(source_files), source_files.source


def _validated(source_files: EstateFiles) -> Estate:
    complete = not source_files.problems
    try:
        estate = Estate.model_validate(source_files.document)
    except ValidationError as error:
        found = validation_messages.problems(error, source_files.source, source_files.document, complete=complete)
        raise EstateError([*source_files.problems, *found]) from None
    if not complete:
        raise EstateError(source_files.problems)
    return estate
