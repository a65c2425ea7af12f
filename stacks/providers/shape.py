"""A host's input as resource properties, and back.

`HostInput` holds lists; properties hold maps by path and name, so that one inserted file is one difference and not a
shift of all that follow. Each role keeps the order of its own things.

    host, address, instance
    roles:    [{role, settings, files: [path…], units: [name…], sysctls: [key…], accounts: [name…]}…]
    files:    {path: {text, owner, group, mode, secret, validate, notify}}
    units:    {name: {enabled, active}}
    sysctls:  {key: value}
    accounts: {name: {groups, shell, home, keys}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.hostplan import HostInput

KINDS = ("files", "units", "sysctls", "accounts")
"""What is managed, compared on every read."""


class Contradiction(ValueError):
    """Two roles of one host want the same thing differently."""


def properties(host_input: HostInput, *, instance: str) -> dict[str, Any]:
    """The resource's inputs. `instance` is the estate instance that the host must belong to."""
    shaped: dict[str, Any] = {kind: {} for kind in KINDS}
    roles = []
    for role in host_input.as_dict()["roles"]:
        named = {kind: _by_name(kind, role[kind]) for kind in KINDS}
        for kind, things in named.items():
            _merge(shaped[kind], things, f"{host_input.host}: {kind} of role {role['role']}")
        roles.append(
            {"role": role["role"], "settings": role["settings"], **{kind: list(named[kind]) for kind in KINDS}}
        )
    return {"host": host_input.host, "address": host_input.address, "instance": instance, "roles": roles, **shaped}


def host_input(values: Mapping[str, Any]) -> HostInput:
    """The inverse of `properties`, from plain values."""
    roles = [
        {
            "role": role["role"],
            "settings": role.get("settings", {}),
            "files": [{"path": p, **values["files"][p]} for p in role.get("files", ())],
            "units": [{"name": n, **values["units"][n]} for n in role.get("units", ())],
            "sysctls": {k: values["sysctls"][k] for k in role.get("sysctls", ())},
            "accounts": [{"name": n, **values["accounts"][n]} for n in role.get("accounts", ())],
        }
        for role in values["roles"]
    ]
    return HostInput.from_dict({"host": values["host"], "address": values["address"], "roles": roles})


def _by_name(kind: str, things: Any) -> dict[str, Any]:
    if kind == "sysctls":
        return dict(things)
    key = "path" if kind == "files" else "name"
    return {thing[key]: _listed({k: v for k, v in thing.items() if k != key}) for thing in things}


def _listed(value: Any) -> Any:
    """Tuples as lists: what comes back over the wire must compare equal."""
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def _merge(into: dict[str, Any], things: dict[str, Any], where: str) -> None:
    for name, thing in things.items():
        if name in into and into[name] != thing:
            raise Contradiction(f"{where}: {name} is wanted differently by an earlier role; give it to one role")
        into[name] = thing
