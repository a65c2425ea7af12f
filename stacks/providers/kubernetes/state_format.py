"""The format of an object in the state, which is the official provider's format.

The outputs are the live object and three more fields: `__inputs` (the declared object), `__initialApiVersion` and
`__fieldManager`. Fields such as `x-kubernetes-list-type` are stored with underscores, as the SDKs name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stacks.providers.kubernetes import redaction
from stacks.providers.kubernetes.objects import Object, is_definition
from stacks.providers.values import Hidden, Properties, plain_map, to_properties

INPUTS = "__inputs"
INITIAL_API_VERSION = "__initialApiVersion"
FIELD_MANAGER = "__fieldManager"

_DASHED = {
    name.replace("-", "_"): name
    for name in (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
}
_UNDERSCORED = {dashed: name for name, dashed in _DASHED.items()}


def outputs(inputs: Object, live: Object, declared: Properties, api_version: str, manager: str) -> Properties:
    """Return the outputs for the state. `declared` marks the author's secrets."""
    return to_properties(
        {
            **redaction.mark_secrets(_renamed(live, _UNDERSCORED), declared),
            INPUTS: redaction.mark_secrets(_renamed(inputs, _UNDERSCORED), declared),
            INITIAL_API_VERSION: api_version,
            FIELD_MANAGER: manager,
        }
    )


def checked(inputs: Object, declared: Properties) -> Properties:
    """Return the inputs in the form of the state."""
    return to_properties(redaction.mark_secrets(_renamed(inputs, _UNDERSCORED), declared))


def declared_object(properties: Properties) -> Object:
    """Return the object that inputs declare."""
    return _object(plain_map(properties))


def of_state(properties: Properties) -> tuple[Object, Object]:
    """Return the inputs and the live object of a state."""
    values = plain_map(properties)
    live = {key: value for key, value in values.items() if key not in (INPUTS, INITIAL_API_VERSION, FIELD_MANAGER)}
    return _object(values.get(INPUTS) or {}), _object(live)


def manager_of(properties: Properties) -> str:
    """Return the field manager in the state, or an empty text."""
    found = properties.get(FIELD_MANAGER)
    return str(found.value) if found and found.value else ""


def first_version_of(properties: Properties, inputs: Mapping[str, Any]) -> str:
    """Return the API version that the object was created with."""
    found = properties.get(INITIAL_API_VERSION)
    return str(found.value) if found and found.value else str(inputs.get("apiVersion") or "")


def _object(values: Mapping[str, Any]) -> Object:
    return dict(_renamed(values, _DASHED))


def _renamed(obj: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return _rename(obj, names) if is_definition(obj) else dict(obj)


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Hidden):
        return Hidden(_rename(value.value, names))
    if isinstance(value, Mapping):
        return {names.get(key, key): _rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    return value
