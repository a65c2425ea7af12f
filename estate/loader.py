"""Reading an estate: YAML files, merged, parsed once, all problems at once and in the reader's words.

A folder's `*.yaml` files are merged by their top-level keys; a key may stand in one file only. YAML aliases are
refused (a "billion laughs" file needs them and an estate does not), and so is anything over `MAX_BYTES`.
"""

from __future__ import annotations

import difflib
import stat
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from estate.checks import advise, check
from estate.model import SHAPES, Estate, field_names
from estate.problems import EstateError, Problem, Source

__all__ = ["DATA", "MAX_BYTES", "EstateError", "Problem", "Source", "advice", "load", "parse"]

DATA = Path(__file__).parent / "data"
MAX_BYTES = 1024 * 1024
"""A city's estate of 2 000 hosts takes about 400 kB."""

MAX_TOLD = 200
"""More problems than a person reads: a file of something else entirely."""


def load(path: Path | None = None) -> Estate:
    """The estate at `path` (a file or a folder; the project's own where None), parsed and checked against all rules.

    Raises `EstateError` with every problem found.
    """
    estate, source = parse(path)
    problems = check(estate, source)
    if problems:
        raise EstateError(problems)
    return estate


def advice(path: Path | None = None) -> list[Problem]:
    """What an estate that keeps all rules probably does not mean. Raises `EstateError` where it cannot be parsed."""
    return advise(*parse(path))


def parse(path: Path | None = None) -> tuple[Estate, Source]:
    """Parse without the rules of `estate.checks`. Raises `EstateError`."""
    where = path or DATA
    document, source = _merge(where, _files(where))
    try:
        return Estate.model_validate(document), source
    except ValidationError as error:
        raise EstateError(_problems(error, source, document)) from None


def _files(where: Path) -> list[Path]:
    if where.is_dir():
        files = sorted(where.glob("*.yaml"))
        misnamed = [
            _problem(file, "", "", f"would not be read; rename it to {file.stem}.yaml")
            for file in sorted(where.glob("*.yml"))
        ]
        if misnamed:
            raise EstateError(misnamed)
        if not files:
            raise EstateError([_problem(where, "", "", "the folder has no *.yaml file; name an estate's folder")])
        return files
    if not where.exists():
        raise EstateError([_problem(where, "", "", "no such file or folder; check the path after --file")])
    return [where]


def _merge(where: Path, files: list[Path]) -> tuple[dict[str, Any], Source]:
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            part = _read(file)
        except EstateError as error:
            problems.extend(error.problems)
            continue
        for key, value in part.items():
            if key in merged:
                problems.append(_problem(file, str(key), "", f"stands in {origin[key]} too; keep one of them"))
                continue
            merged[key], origin[key] = value, str(file)
    if problems:
        raise EstateError(problems)
    return merged, Source(files=origin, fallback=str(where))


def _text(file: Path) -> str:
    """The file's text. Reads at most `MAX_BYTES`, so that a huge file costs nothing."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
            raise EstateError([_problem(file, "", found, "is no file; name a YAML file or an estate's folder")])
        if status.st_size > MAX_BYTES:
            way_out = f"larger than {MAX_BYTES} bytes; split the estate or remove what is no declaration"
            raise EstateError([_problem(file, "", f"{status.st_size} bytes", way_out)])
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        reason = f"cannot be read: {error.strerror}; check the path and its rights"
        raise EstateError([_problem(file, "", "", reason)]) from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start}: 0x{error.object[error.start]:02x}"
        raise EstateError([_problem(file, "", where, "is not UTF-8; save the file as UTF-8")]) from None


def _read(file: Path) -> dict[str, Any]:
    text = _text(file)
    try:
        document = yaml.load(text, Loader=_Loader)
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
            raise _refusal("YAML aliases (*name) are refused, write the value out", mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):  # a date in month 13, `!!int abc`, 5 000 digits
            raise _refusal("the value is not what it looks like, quote it or correct it", node.start_mark) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(f"key {key!r} is no text, quote it", key_node.start_mark)
            if key in seen:
                raise _refusal(f"key {key!r} stands twice, keep one", key_node.start_mark)
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
        return "holds a control character, which YAML forbids; remove it"
    return str(getattr(error, "problem", None) or "is not YAML").strip() + "; mend the file at that place"


def _problem(file: Path, key: str, value: str, message: str) -> Problem:
    return Problem(file=str(file), key=key, value=value, message=message)


def _problems(error: ValidationError, source: Source, document: dict[str, Any]) -> list[Problem]:
    found = []
    for item in error.errors(include_url=False)[:MAX_TOLD]:
        loc = tuple(item["loc"])
        key = _path(loc, document)
        value = "" if item["type"] == "missing" else _short(item["input"])
        found.append(
            Problem(file=source.file_of(str(loc[0]) if loc else ""), key=key, value=value, message=_reason(dict(item)))
        )
    if error.error_count() > MAX_TOLD:
        more = f"{error.error_count() - MAX_TOLD} more problems; mend these first, or name an estate's file"
        found.append(Problem(file=source.fallback, key="", value="", message=more))
    return found


def _path(loc: tuple[int | str, ...], document: Any) -> str:
    """`hosts[3] (futian-kube1).number`: the index and, where there is one, the name a person looks for."""
    text, node = "", document
    for part in loc:
        if isinstance(part, int):
            node = node[part] if isinstance(node, list) and part < len(node) else None
            name = node.get("name") if isinstance(node, dict) else None
            text += f"[{part}]" + (f"({_plain(name)})" if isinstance(name, str) else "")
        else:
            node = node.get(part) if isinstance(node, dict) else None
            text += ("." if text else "") + _plain(part)
    return text


def _plain(name: str) -> str:
    """A name from a file as a terminal may show it: printable and short."""
    text = name if name.isprintable() else repr(name)[1:-1]
    return text if len(text) <= 40 else text[:37] + "..."


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_WAYS_OUT = {
    "missing": "is missing; add it",
    "bool_type": "must be true or false; correct it",
    "model_type": "must be a mapping with keys and values; correct it",
    "tuple_type": "must be a list; correct it",
    "string_type": "must be text; correct it",
    "ip_v4_network": "is no IPv4 prefix such as 10.0.0.0/24, with nothing set behind its length; correct it",
    "ip_v6_network": "is no IPv6 prefix such as fd00::/48, with nothing set behind its length; correct it",
}


def _reason(item: dict[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), field_names(), n=1)
        return "unknown field; " + (f"did you mean {near[0]!r}? Otherwise remove it" if near else "remove it")
    if item["type"] in ("too_short", "too_long"):
        bound = item["ctx"].get("min_length") or item["ctx"].get("max_length")
        return f"must have {'at least' if item['type'] == 'too_short' else 'at most'} {bound} entries; correct it"
    if item["type"] == "string_pattern_mismatch":
        return SHAPES[item["ctx"]["pattern"]] + "; correct it"
    reason = _WAYS_OUT.get(item["type"])
    return reason or str(item["msg"]).removeprefix("Value error, ").replace("Input should", "should") + "; correct it"
