"""Differences between the live object, limited to its declared fields, and the newly declared object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi.provider.experimental.provider import PropertyDiff, PropertyDiffKind

from stacks.providers.kubernetes import immutable_fields, quantities
from stacks.providers.kubernetes.immutable_fields import Path
from stacks.providers.resource import REPLACING

_ABSENT = object()


def differences(
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    former: Mapping[str, Any],
    frozen: tuple[Path, ...],
    ignored: tuple[str, ...] = (),
) -> dict[str, PropertyDiff]:
    """Return the property paths that differ, each with its kind of change.

    `former` is the object declared before; `ignored` are the paths of the option ignoreChanges.
    """
    answer = {}
    for path, kind in _walk((), found, wanted, former):
        text = written(path)
        if any(text == one or text.startswith((f"{one}.", f"{one}[")) for one in ignored):
            continue
        replacing = immutable_fields.replaces(path, frozen)
        # Show a removed input against the former inputs: the server may have set a default in its place.
        answer[text] = PropertyDiff(REPLACING[kind] if replacing else kind, kind is PropertyDiffKind.DELETE)
    return answer


def replacing(found: Mapping[str, PropertyDiff]) -> list[str]:
    """Return the paths of the differences that need a new object."""
    return [path for path, diff in found.items() if diff.kind in REPLACING.values()]


def written(path: Path) -> str:
    """Return the path as the engine writes it: `spec.ports[0].port`, `data["a.b"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif any(mark in step for mark in '."[]'):
            text += '["' + step.replace('"', '\\"') + '"]'
        else:
            text += f".{step}" if text else step
    return text


def _walk(path: Path, old: Any, new: Any, former: Any) -> Iterator[tuple[Path, PropertyDiffKind]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        before = former if isinstance(former, Mapping) else {}
        for key in sorted(old.keys() | new.keys()):
            yield from _walk((*path, key), old.get(key, _ABSENT), new.get(key, _ABSENT), before.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        earlier = former if isinstance(former, list) else []
        for index in range(max(len(old), len(new))):
            yield from _walk((*path, index), _at(old, index), _at(new, index), _at(earlier, index))
    elif old is _ABSENT:
        # The server drops empty fields of most kinds. An empty field that was declared before is no change.
        if new != former or not (new in (None, {}, []) or _is_empty_variable(path, new)):
            yield path, PropertyDiffKind.ADD
    elif new is _ABSENT:
        yield path, PropertyDiffKind.DELETE
    elif old != new and not quantities.same(path, old, new):
        yield path, PropertyDiffKind.UPDATE


def _is_empty_variable(path: Path, new: Any) -> bool:
    """Return whether this is a container's variable without text. Other empty texts, as in a ConfigMap, stay stored."""
    return new == "" and path[-3::2] == ("env", "value")


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else _ABSENT
