"""Who manages which field of an object: what hands have changed comes back to us, other programs' fields do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stacks.providers.kubernetes.objects import MANAGER_PREFIX

HANDS = ("kubectl", "before-first-apply")
"""Beginnings of the managers that stand for a person at a terminal. As the official provider has them."""
FORMER = ("pulumi-kubernetes", "pulumi-kubernetes.exe", "pulumi-resource-kubernetes")
"""Managers of updates that providers of the same program wrote before they applied on the server's side."""


def ours(live: Mapping[str, Any], manager: str) -> bool:
    """Whether the object was applied by this manager, so that a killed run's creation is known again."""
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in _entries(live))


def of_a_stack(live: Mapping[str, Any]) -> bool:
    """Whether a resource of some stack has applied it; of which one, only that stack's state knows."""
    applied = (str(entry.get("manager")) for entry in _entries(live) if entry.get("operation") == "Apply")
    return any(manager.startswith(MANAGER_PREFIX) for manager in applied)


def managers(live: Mapping[str, Any]) -> tuple[str, ...]:
    """Everyone who manages a field."""
    return tuple(dict.fromkeys(str(entry.get("manager")) for entry in _entries(live)))


def by_hand(live: Mapping[str, Any]) -> bool:
    """Whether a person has changed the object since."""
    return any(_hand(entry) for entry in _entries(live))


def taken_over(live: Mapping[str, Any], manager: str) -> list[dict[str, Any]] | None:
    """The object's managed fields with those of hands given to `manager`; None where there is nothing to take.

    Taken before an update, so that what a hand has set is put right and what a hand has added to our fields goes with
    them when they are no longer declared.
    """
    entries = [dict(entry) for entry in _entries(live)]
    hands = [entry for entry in entries if _hand(entry)]
    if not hands:
        return None
    own = next((e for e in entries if e.get("manager") == manager and e.get("operation") == "Apply"), None)
    fields = _union(entry.get("fieldsV1") or {} for entry in ([own] if own else []) + hands)
    kept = [entry for entry in entries if entry is not own and entry not in hands]
    first = own or hands[0]
    entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": first.get("apiVersion"),
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **({"time": first["time"]} if first.get("time") else {}),
    }
    return [entry, *kept]


def _hand(entry: Mapping[str, Any]) -> bool:
    if entry.get("subresource", "") not in ("", "scale"):
        return False  # only `kubectl scale` sets fields that authors declare
    name = str(entry.get("manager"))
    return name.startswith(HANDS) or (entry.get("operation") == "Update" and name in FORMER)


def _entries(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((live.get("metadata") or {}).get("managedFields") or ())


def _union(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = _union((merged[key], value)) if both else value
    return merged
