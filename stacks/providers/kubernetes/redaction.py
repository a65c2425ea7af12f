"""Protection of secrets in the state, in previews and in error messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue

from stacks.providers.kubernetes.objects import LAST_APPLIED, is_secret
from stacks.providers.values import Hidden, Properties

SHORTEST = 4
"""Minimum length of a redacted text. Shorter texts occur inside ordinary words."""
MASK = "[secret]"


def mark_secrets(obj: Mapping[str, Any], declared: Properties) -> dict[str, Any]:
    """Return the object with `Hidden` around all values declared secret, and around the content of a Secret.

    A list with a secret element is secret as a whole, because its elements may have moved.
    """
    answer = _annotated(dict(obj), declared)
    if is_secret(obj):
        for field in ("data", "stringData"):
            if obj.get(field) is not None:
                answer[field] = Hidden(obj[field])
    if is_secret(obj) or any(value.contains_secret() for value in declared.values()):
        answer = _without_copy(answer)
    return answer


def secret_texts(*declared: Properties) -> tuple[str, ...]:
    """Return all secret texts, longest first."""
    found = set[str]()
    for properties in declared:
        found |= {text for value in properties.values() for text in _secret_texts(value, False)}
        kind = properties.get("kind")
        if kind and kind.value == "Secret":
            content = (properties[field] for field in ("data", "stringData") if field in properties)
            found |= {text for value in content for text in _secret_texts(value, True)}
    return tuple(sorted((text for text in found if len(text) >= SHORTEST), key=len, reverse=True))


def redact(message: str, secrets: tuple[str, ...]) -> str:
    """Return the message without secret texts. The API server quotes values that it refuses."""
    for text in secrets:
        message = message.replace(text, MASK)
    return message


def _annotated(obj: dict[str, Any], declared: Mapping[str, PropertyValue]) -> dict[str, Any]:
    for key, value in declared.items():
        if key not in obj or isinstance(obj[key], Hidden):
            continue
        if isinstance(value.value, Mapping) and isinstance(obj[key], Mapping) and not value.is_secret:
            obj[key] = _annotated(dict(obj[key]), value.value)
        elif value.contains_secret():
            obj[key] = Hidden(obj[key])
    return obj


def _without_copy(obj: dict[str, Any]) -> dict[str, Any]:
    """Hide the annotation of `kubectl apply`, which contains a plain-text copy of the whole object."""
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(annotations, Mapping) or LAST_APPLIED not in annotations:
        return obj
    hidden = {**annotations, LAST_APPLIED: Hidden(annotations[LAST_APPLIED])}
    return {**obj, "metadata": {**metadata, "annotations": hidden}}  # type: ignore[dict-item]


def _secret_texts(value: PropertyValue, inside: bool) -> Iterator[str]:
    inside = inside or value.is_secret
    if isinstance(value.value, str):
        if inside:
            yield value.value
    elif isinstance(value.value, Mapping):
        for item in value.value.values():
            yield from _secret_texts(item, inside)
    elif isinstance(value.value, (list, tuple)):
        for item in value.value:
            yield from _secret_texts(item, inside)
