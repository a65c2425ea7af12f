"""Between the engine's property values and plain Python, without losing what is secret.

`Hidden` marks a plain value as secret on its way out; on its way in `plain` drops the mark, because a provider may see
secrets, and `is_unknown` tells a value that a preview cannot know yet.
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
    """JSON-like Python. Whole numbers come back as int: the wire only has floats."""
    inner = value.value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [plain(item) for item in inner]
    return inner


def plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """`plain` for a whole set of properties."""
    return {key: plain(item) for key, item in values.items()}


def to_property(value: Any) -> PropertyValue:
    """The property value of JSON-like Python; `Hidden` becomes a secret."""
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
    """`wire` for a whole set of properties."""
    return {key: to_property(item) for key, item in values.items()}


def unknown() -> PropertyValue:
    """What a preview answers where only the update will know."""
    return PropertyValue(UNKNOWN)


def is_unknown(value: PropertyValue) -> bool:
    """Whether the value, or anything inside it, is not known yet."""
    inner = value.value
    if isinstance(inner, Mapping):
        return any(is_unknown(item) for item in inner.values())
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return any(is_unknown(item) for item in inner)
    return bool(inner == UNKNOWN)
