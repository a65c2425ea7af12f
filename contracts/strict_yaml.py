"""Read a declaration from a YAML file, and refuse everything that could mean something else than it seems.

YAML aliases are refused: a "billion laughs" file needs them, and a declaration does not. Files over `MAX_BYTES` are
also refused. Characters that change the direction of text are refused: the file would look different from its content.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024
"""A city's estate of 2 000 hosts takes about 400 kB."""

_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks, embeddings, overrides and isolates of the Unicode bidirectional algorithm."""


class StrictYamlError(Exception):
    """The file is refused. `place` is in the file, `found` is the text there, and `reason` ends with the remedy."""

    def __init__(self, reason: str, *, place: str = "", found: str = "") -> None:
        self.reason, self.place, self.found = reason, place, found
        super().__init__((f"{place}: " if place else "") + reason + (f" (found: {found})" if found else ""))


def read(file: Path) -> dict[str, Any]:
    """Return the mapping in the file. Raises StrictYamlError."""
    try:
        document = yaml.load(_text(file), Loader=_Loader)  # noqa: S506 - a SafeLoader with more refusals
    except yaml.YAMLError as error:
        raise StrictYamlError(_yaml_reason(error), place=_place(error)) from None
    except RecursionError:
        raise StrictYamlError("is nested too deeply; a declaration has at most six levels") from None
    if not isinstance(document, dict):
        found = "an empty file" if document is None else type(document).__name__
        raise StrictYamlError("must be a mapping with keys and values; correct it", found=found)
    return document


def misnamed(file: Path) -> str:
    """Return why a `*.yml` file is refused: it would be ignored without a message. Empty for every other file."""
    return f"would not be read; rename it to {file.stem}.yaml" if file.suffix == ".yml" else ""


def _text(file: Path) -> str:
    """Return the file's text. Read at most `MAX_BYTES`, so that a huge file costs no memory."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise StrictYamlError("is not a file; put a YAML file in its place", found=found)
        if status.st_size > MAX_BYTES:
            reason = f"larger than {MAX_BYTES} bytes; split it or remove text that is not a declaration"
            raise StrictYamlError(reason, found=f"{status.st_size} bytes")
        with file.open("rb") as stream:
            return _refuse_bidi_controls(stream.read(MAX_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise StrictYamlError(f"cannot be read: {error.strerror}; check the path and its rights") from None
    except UnicodeDecodeError as error:
        found = f"byte {error.start}: 0x{error.object[error.start]:02x}"
        raise StrictYamlError("is not UTF-8; save the file as UTF-8", found=found) from None


def _refuse_bidi_controls(text: str) -> str:
    if control := _BIDI_CONTROLS.search(text):
        line, found = text.count("\n", 0, control.start()) + 1, f"U+{ord(control[0]):04X}"
        reason = "changes the direction of the text after it, so that the file looks different; remove it"
        raise StrictYamlError(reason, place=f"line {line}", found=found)
    return text


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


def _place(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1}"
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _yaml_reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return "contains a control character, which YAML forbids; remove it"
    return str(getattr(error, "problem", None) or "is not YAML").strip() + "; correct the file at that place"
