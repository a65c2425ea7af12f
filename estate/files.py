"""Read an estate's YAML files and merge their top-level keys. Each key may be in one file only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import strict_yaml
from contracts.strict_yaml import StrictYamlError
from estate.problems import Problem, Source


@dataclass(frozen=True, kw_only=True)
class EstateFiles:
    """The content of an estate's files, and the problems of the files themselves."""

    document: dict[str, Any]
    source: Source
    problems: tuple[Problem, ...]
    """If there are problems, a part of the document may be missing."""


def read(where: Path) -> EstateFiles:
    """Read the file `where`, or the `*.yaml` files of the folder `where`."""
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    files, problems = _files(where)
    for file in files:
        try:
            part = strict_yaml.read(file)
        except StrictYamlError as error:
            problems.append(_problem(file, error.place, error.found, error.reason))
            continue
        for key, value in part.items():
            if key in merged:
                problems.append(_problem(file, str(key), "", f"is also in {origin[key]}; keep one of them"))
                continue
            merged[key], origin[key] = value, str(file)
    return EstateFiles(document=merged, source=Source(files=origin, fallback=str(where)), problems=tuple(problems))


def _files(where: Path) -> tuple[list[Path], list[Problem]]:
    if not where.is_dir():
        found = where.exists()
        missing = _problem(where, "", "", "no such file or folder; check the path after --file")
        return ([where], []) if found else ([], [missing])
    try:
        entries = sorted(where.iterdir())
    except OSError as error:
        return [], [_problem(where, "", "", f"cannot be read: {error.strerror}; check the path and its rights")]
    files = [entry for entry in entries if entry.suffix == ".yaml"]
    problems = [_problem(entry, "", "", reason) for entry in entries if (reason := strict_yaml.misnamed(entry))]
    if not files and not problems:
        problems = [_problem(where, "", "", "the folder has no *.yaml file; name an estate's folder")]
    return files, problems


def _problem(file: Path, key: str, value: str, message: str) -> Problem:
    return Problem(file=str(file), key=key, value=value, message=message)
