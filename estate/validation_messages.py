"""Convert pydantic's errors to problems with file, key path, value and next step."""

from __future__ import annotations

import difflib
import math
from typing import Any

from pydantic import ValidationError

from estate.field_types import PATTERN_MESSAGES
from estate.model import field_names
from estate.problems import Problem, Source

MAX_PROBLEMS = 200
"""Maximum number of reported problems. A file with more is probably not an estate."""


def problems(error: ValidationError, source: Source, document: dict[str, Any], *, complete: bool) -> list[Problem]:
    """Return all problems, at most `MAX_PROBLEMS`.

    A document that is not `complete` lacks sections for a known reason. They are not reported as missing.
    """
    items = error.errors(include_url=False)
    places = {tuple(item["loc"]) for item in items}
    found = [
        Problem(
            file=source.file_of(str(loc[0]) if (loc := tuple(item["loc"])) else ""),
            key=_path(loc, document),
            value="" if item["type"] == "missing" else _short(item["input"]),
            message=_message(dict(item)),
        )
        for item in items
        if (complete or item["type"] != "missing" or len(item["loc"]) > 1)
        # pydantic counts only valid entries and reports a list with invalid entries as too short.
        and not (item["type"] == "too_short" and any(_is_below(place, tuple(item["loc"])) for place in places))
    ]
    if len(found) > MAX_PROBLEMS:
        more = f"{len(found) - MAX_PROBLEMS} more problems; correct these first, or name an estate's file"
        found[MAX_PROBLEMS:] = [Problem(file=source.fallback, key="", value="", message=more)]
    return found


def _is_below(place: tuple[int | str, ...], loc: tuple[int | str, ...]) -> bool:
    return len(place) > len(loc) and place[: len(loc)] == loc


def _path(loc: tuple[int | str, ...], document: Any) -> str:
    """Return the key path with the index and, if there is one, the entry's name: `hosts[3](futian-kube1).number`."""
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
    """Return a name from a file in a printable and short form for terminals."""
    text = name if name.isprintable() else repr(name)[1:-1]
    return text if len(text) <= 40 else text[:37] + "..."


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_MESSAGES = {
    "missing": "is missing; add it",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping with keys and values",
    "enum": "must be one of {expected}",
    "finite_number": "must be a number, neither infinite nor .nan",
    "float_type": "must be a number without quotes",
    "greater_than": "must be greater than {gt:.15g}",
    "greater_than_equal": "must be at least {ge:.15g}",
    "int_type": "must be a whole number without quotes",
    "ip_v4_network": "is not an IPv4 prefix such as 10.0.0.0/24, with all bits after its length zero",
    "ip_v6_network": "is not an IPv6 prefix such as fd00::/48, with all bits after its length zero",
    "less_than": "must be less than {lt:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "literal_error": "must be {expected}",
    "model_type": "must be a mapping with keys and values",
    "string_pattern_mismatch": "{pattern_message}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have a text of at least {min_length} characters",
    "string_type": "must be text",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}


def _message(item: dict[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), field_names(), n=1)
        return "unknown field; " + (f"did you mean {near[0]!r}? Otherwise remove it" if near else "remove it")
    context = {"pattern_message": "", **item.get("ctx", {})}
    if "pattern" in context:
        context["pattern_message"] = PATTERN_MESSAGES[context["pattern"]]
    no_number = isinstance(item["input"], float) and not math.isfinite(item["input"])
    kind = "finite_number" if no_number else item["type"]
    message = _MESSAGES[kind].format(**context) if kind in _MESSAGES else str(item["msg"])
    message = message.replace("at least 1 entries", "an entry").replace("of at least 1 characters", "that is not empty")
    return message if ";" in message else f"{message}; correct it"
