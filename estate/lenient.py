"""Parse the valid part of an invalid estate, so that the rules can report problems in that part.

A missing or invalid field is not set. Reading it raises AttributeError; `estate.checks` then counts the rule
as waiting.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from estate.model import Value

Parsed = TypeVar("Parsed", bound=Value)


def parse_leniently(model: type[Parsed], data: dict[str, Any]) -> Parsed:
    """Return the value with the valid fields of `data`.

    If `data` has an unknown field, no default is used, because the unknown field may be a misspelt name.
    """
    value = model.model_construct()
    fields, unknown = vars(value), data.keys() - model.model_fields.keys()
    for name, field in model.model_fields.items():
        if name in data or unknown:
            fields.pop(name, None)
        if name in data:
            try:
                field_type: Any = Annotated[field.annotation, field]
                fields[name] = TypeAdapter(field_type).validate_python(data[name])
            except ValidationError:
                for part in _parts(field.annotation, data[name]):
                    fields[name] = part
    return value


def is_unset(error: AttributeError) -> bool:
    """Return whether the error comes from reading an invalid field, and not from a mistake in the code."""
    fields = error.obj
    return isinstance(fields, Value) and error.name in type(fields).model_fields and error.name not in vars(fields)


def _parts(annotation: Any, data: object) -> list[Any]:
    """Return a list with the partly valid value; empty if no part is valid."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (choice for choice in get_args(annotation) if choice is not NoneType)
    if isinstance(annotation, type) and issubclass(annotation, Value):
        return [parse_leniently(annotation, data)] if isinstance(data, dict) else []
    entries = get_args(annotation)
    if get_origin(annotation) is tuple and entries[1:] == (...,) and isinstance(data, list):
        found = [part for each in data for part in _parts(entries[0], each)]
        return [tuple(found)] if found and len(found) == len(data) else []
    return []
