"""An estate from its files: read, parsed once, checked; all problems at once and in the reader's words."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from estate import files, wording
from estate.checks import advise, check
from estate.files import MAX_BYTES, Written
from estate.model import Estate
from estate.partial import readable
from estate.problems import EstateError, Problem, Source
from estate.wording import MAX_TOLD

__all__ = ["DATA", "MAX_BYTES", "MAX_TOLD", "EstateError", "Problem", "Source", "advice", "load", "parse"]

DATA = Path(__file__).parent / "data"


def load(path: Path | None = None) -> Estate:
    """The estate at `path` (a file or a folder; the project's own where None), parsed and checked against all rules.

    Raises `EstateError` with every problem found: in the files, in their fields, and in what the rules can read.
    """
    written = files.read(path or DATA)
    problems: tuple[Problem, ...] = ()
    try:
        estate = _parsed(written)
    except EstateError as error:
        estate, problems = readable(Estate, written.document), error.problems
    broken, waiting = check(estate, written.source)
    if problems or broken:
        raise EstateError([*problems, *broken], waiting=waiting, path=path)
    return estate


def advice(path: Path | None = None) -> list[Problem]:
    """What an estate that keeps all rules probably does not mean. Raises `EstateError` where it cannot be parsed."""
    return advise(*parse(path))


def parse(path: Path | None = None) -> tuple[Estate, Source]:
    """Parse without the rules of `estate.checks`. Raises `EstateError`."""
    written = files.read(path or DATA)
    return _parsed(written), written.source


def _parsed(written: Written) -> Estate:
    whole = not written.problems
    try:
        estate = Estate.model_validate(written.document)
    except ValidationError as error:
        found = wording.problems(error, written.source, written.document, whole=whole)
        raise EstateError([*written.problems, *found]) from None
    if not whole:
        raise EstateError(written.problems)
    return estate
