"""Convert between the engine's property values and plain Python, and keep secrets marked.

`Hidden` marks a plain value as secret for the engine. `plain` drops the mark, because a provider may see secrets.
`is_unknown` reports a value that a preview cannot know yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

Properties = dict[str, PropertyValue]


@dataclass(frozen=True)
class Hidden:
    """A plain value that the engine must encrypt in its state and never print."""

    value: Any

    def __repr__(self) -> str:
        return "Hidden(…)"


def plain(value: PropertyValue) -> Any:
    """Return JSON-like Python. Whole numbers become int, because gRPC transports only floats."""
    inner = value.value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [plain(item) for item in inner]
    return inner


def plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """Return `plain` of every property."""
    return {key: plain(item) for key, item in values.items()}


def to_property(value: Any) -> PropertyValue:
    """Return the property value of JSON-like Python. `Hidden` becomes a secret."""
    if isinstance(value, PropertyValue):
        return value
    if isinstance(value, Hidden):
        return to_property(value.value).with_secret(True)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return PropertyValue(value)
    if isinstance(value, (int, float)):
        return PropertyValue(float(value))
    if isinstance(value, Mapping):
        return PropertyValue({str(key): to_property(item) for key, item in value.items()})
    return PropertyValue([to_property(item) for item in value])


def to_properties(values: Mapping[str, Any]) -> Properties:
    """Return `to_property` of every value."""
    return {key: to_property(item) for key, item in values.items()}


def unknown() -> PropertyValue:
    """Return the placeholder that a preview uses for a value that only the update knows."""
    return PropertyValue(UNKNOWN)


def is_unknown(value: PropertyValue) -> bool:
    """Return whether the value, or a value inside it, is not known yet."""
    inner = value.value
    if isinstance(inner, Mapping):
        return any(is_unknown(item) for item in inner.values())
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return any(is_unknown(item) for item in inner)
    return bool(inner == UNKNOWN)
