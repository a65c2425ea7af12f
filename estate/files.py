"""Read an estate's YAML files and merge their top-level keys. Each key may be in one file only.

YAML aliases are refused: a "billion laughs" file needs them, and an estate does not. Files over `MAX_BYTES` are also
refused. Characters that change the direction of text are refused: the file would look different from its content.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from estate.problems import EstateError, Problem, Source

MAX_BYTES = 1024 * 1024
"""A city's estate of 2 000 hosts takes about 400 kB."""

_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks, embeddings, overrides and isolates of the Unicode bidirectional algorithm."""


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
            part = _read(file)
        except EstateError as error:
            problems.extend(error.problems)
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
        return [], [_unreadable(where, error)]
    files = [entry for entry in entries if entry.suffix == ".yaml"]
    problems = [
        _problem(entry, "", "", f"would not be read; rename it to {entry.stem}.yaml")
        for entry in entries
        if entry.suffix == ".yml"
    ]
    if not files and not problems:
        problems = [_problem(where, "", "", "the folder has no *.yaml file; name an estate's folder")]
    return files, problems


def _text(file: Path) -> str:
    """Return the file's text. Read at most `MAX_BYTES`, so that a huge file costs no memory."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise EstateError([_problem(file, "", found, "is not a file; name a YAML file or an estate's folder")])
        if status.st_size > MAX_BYTES:
            message = f"larger than {MAX_BYTES} bytes; split the estate or remove text that is not a declaration"
            raise EstateError([_problem(file, "", f"{status.st_size} bytes", message)])
        with file.open("rb") as stream:
            return _refuse_bidi_controls(file, stream.read(MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise EstateError([_unreadable(file, error)]) from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start}: 0x{error.object[error.start]:02x}"
        raise EstateError([_problem(file, "", where, "is not UTF-8; save the file as UTF-8")]) from None


def _refuse_bidi_controls(file: Path, text: str) -> str:
    if control := _BIDI_CONTROLS.search(text):
        line, value = text.count("\n", 0, control.start()) + 1, f"U+{ord(control[0]):04X}"
        reason = "changes the direction of the text after it, so that the file looks different; remove it"
        raise EstateError([_problem(file, f"line {line}", value, reason)])
    return text


def _read(file: Path) -> dict[str, Any]:
    text = _text(file)
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with more refusals
    except yaml.YAMLError as error:
        raise EstateError([_problem(file, _mark(error), "", _yaml_reason(error))]) from None
    except RecursionError:
        raise EstateError([_problem(file, "", "", "is nested too deeply; an estate has at most six levels")]) from None
    if not isinstance(document, dict):
        found = "an empty file" if document is None else type(document).__name__
        raise EstateError([_problem(file, "", found, "must be a mapping with keys such as sites, links, hosts")])
    return document


class _Loader(yaml.SafeLoader):
    """Safe loading that also refuses aliases, merge keys and repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _refusal("YAML aliases (*name) are refused, write the complete value", mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):  # a date in month 13, `!!int abc`, 5 000 digits
            raise _refusal("the value is invalid for its type, quote it or correct it", node.start_mark) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(f"key {key!r} is not text, quote it", key_node.start_mark)
            if key in seen:
                raise _refusal(f"key {key!r} is there twice, keep one", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _refusal(reason: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=mark)


def _mark(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1}"
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _yaml_reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return "contains a control character, which YAML forbids; remove it"
    return str(getattr(error, "problem", None) or "is not YAML").strip() + "; correct the file at that place"


def _unreadable(file: Path, error: OSError) -> Problem:
    return _problem(file, "", "", f"cannot be read: {error.strerror}; check the path and its rights")


def _problem(file: Path, key: str, value: str, message: str) -> Problem:
    return Problem(file=str(file), key=key, value=value, message=message)
