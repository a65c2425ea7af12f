"""Ownership of an object's fields. The provider takes back fields that people changed, not those of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stacks.providers.kubernetes.objects import MANAGER_PREFIX

MANUAL_MANAGERS = ("kubectl", "before-first-apply")
"""Prefixes of the managers that mean a person at a terminal, as in the official provider."""
FORMER = ("pulumi-kubernetes", "pulumi-kubernetes.exe", "pulumi-resource-kubernetes")
"""Managers of the updates that Pulumi providers wrote before they used server-side apply."""


def ours(live: Mapping[str, Any], manager: str) -> bool:
    """Return whether this manager applied the object. So the next run recognises an object of a killed run."""
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in _entries(live))


def of_a_stack(live: Mapping[str, Any]) -> bool:
    """Return whether a resource of any stack applied the object. Only that stack's state knows the resource."""
    applied = (str(entry.get("manager")) for entry in _entries(live) if entry.get("operation") == "Apply")
    return any(manager.startswith(MANAGER_PREFIX) for manager in applied)


def managers(live: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the managers of all fields."""
    return tuple(dict.fromkeys(str(entry.get("manager")) for entry in _entries(live)))


def by_hand(live: Mapping[str, Any]) -> bool:
    """Return whether a person has changed the object."""
    return any(_is_manual(entry) for entry in _entries(live))


def taken_over(live: Mapping[str, Any], manager: str) -> list[dict[str, Any]] | None:
    """Return the managed fields with people's fields assigned to `manager`; None if there are no such fields.

    This happens before an update. The update then corrects manual changes. It also removes manual additions together
    with our own fields when these are no longer declared.
    """
    entries = [dict(entry) for entry in _entries(live)]
    manual = [entry for entry in entries if _is_manual(entry)]
    if not manual:
        return None
    own = next((e for e in entries if e.get("manager") == manager and e.get("operation") == "Apply"), None)
    fields = _union(entry.get("fieldsV1") or {} for entry in ([own] if own else []) + manual)
    kept = [entry for entry in entries if entry is not own and entry not in manual]
    first = own or manual[0]
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": first.get("apiVersion"),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **({"time": first["time"]} if first.get("time") else {}),
    }
    return [entry, *kept]


def _is_manual(entry: Mapping[str, Any]) -> bool:
    if entry.get("subresource", "") not in ("", "scale"):
        return False  # only `kubectl scale` sets fields that authors declare
    name = str(entry.get("manager"))
    return name.startswith(MANUAL_MANAGERS) or (entry.get("operation") == "Update" and name in FORMER)


def _entries(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((live.get("metadata") or {}).get("managedFields") or ())


def _union(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = _union((merged[key], value)) if both else value
    return merged
