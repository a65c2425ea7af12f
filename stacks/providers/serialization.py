"""Convert a `HostSpec` to resource properties, and back.

`HostSpec` has lists. The properties are maps by path and name, so that an inserted file is one difference and does not
shift all later files. Each role keeps the order of its own files, units, sysctls and accounts.

    host, address, instance
    roles:    [{role, settings, files: [path…], units: [name…], sysctls: [key…], accounts: [name…], live: [argument…]}…]
    files:    {path: {text, owner, group, mode, secret, validate, notify}}
    units:    {name: {enabled, active}}
    sysctls:  {key: value}
    accounts: {name: {groups, shell, home, keys}}
    secrets:  {"file PATH": text, "settings ROLE": {…}}

All secret values are in `secrets`, which is one secret for the engine. Every preview shows the rest in plain text. A
file moves there if it is marked as secret. A file or a role's settings also move there if they contain a known secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.host_spec import HostSpec

SECRETS = "secrets"
KINDS = ("files", "units", "sysctls", "accounts")
"""Managed kinds, which every read compares."""


class Contradiction(ValueError):
    """Two roles of one host declare the same item with different values."""


def properties(host_spec: HostSpec, *, instance: str, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the resource's inputs.

    `instance` is the estate instance of the host; `secret` are the known secret texts. Raises `Contradiction`.
    """
    maps: dict[str, Any] = {kind: {} for kind in KINDS}
    roles = []
    for role in host_spec.as_dict()["roles"]:
        named = {kind: _by_name(kind, role[kind]) for kind in KINDS}
        for kind, things in named.items():
            _merge(maps[kind], things, f"{host_spec.host}: {kind} of role {role['role']}")
        live = {"live": list(role["live"])} if role["live"] else {}
        things_of = {kind: list(named[kind]) for kind in KINDS}
        roles.append({"role": role["role"], "settings": role["settings"], **things_of, **live})
    hidden = _hide_files(maps["files"], secret) | _hide_settings(roles, secret)
    return {
        "host": host_spec.host,
        "address": str(host_spec.address),
        "instance": instance,
        "roles": roles,
        **maps,
        SECRETS: hidden,
    }


def host_spec(values: Mapping[str, Any]) -> HostSpec:
    """Return the `HostSpec` for plain values: the inverse of `properties`."""
    hidden = values.get(SECRETS) or {}
    roles = [
        {
            "role": role["role"],
            "settings": hidden.get(f"settings {role['role']}", role.get("settings", {})),
            "files": [_file(p, values["files"][p], hidden) for p in role.get("files", ())],
            "units": [{"name": n, **values["units"][n]} for n in role.get("units", ())],
            "sysctls": {k: values["sysctls"][k] for k in role.get("sysctls", ())},
            "accounts": [{"name": n, **values["accounts"][n]} for n in role.get("accounts", ())],
            "live": role.get("live", ()),
        }
        for role in values["roles"]
    ]
    return HostSpec.from_dict({"host": values["host"], "address": values["address"], "roles": roles})


def _file(path: str, file: Mapping[str, Any], hidden: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": path, **file, "text": hidden.get(f"file {path}", file["text"])}


def _hide_files(files: dict[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    hidden = {path: file for path, file in files.items() if file["secret"] or _contains(file["text"], secret)}
    files.update({path: {**file, "text": "", "secret": True} for path, file in hidden.items()})
    return {f"file {path}": file["text"] for path, file in hidden.items()}


def _hide_settings(roles: list[dict[str, Any]], secret: frozenset[str]) -> dict[str, Any]:
    hidden = {}
    for role in roles:
        if _contains(role["settings"], secret):
            hidden[f"settings {role['role']}"], role["settings"] = role["settings"], {}
    return hidden


def _contains(value: Any, secret: frozenset[str]) -> bool:
    if isinstance(value, str):
        return any(text in value for text in secret)
    if isinstance(value, Mapping):
        return any(_contains(item, secret) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_contains(item, secret) for item in value)


def _by_name(kind: str, things: Any) -> dict[str, Any]:
    if kind == "sysctls":
        return dict(things)
    key = "path" if kind == "files" else "name"
    return {thing[key]: _listed({k: v for k, v in thing.items() if k != key}) for thing in things}


def _listed(value: Any) -> Any:
    """Return tuples as lists, so that the values compare equal to the values that gRPC returns."""
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def _merge(into: dict[str, Any], things: dict[str, Any], where: str) -> None:
    for name, thing in things.items():
        if name in into and into[name] != thing:
            raise Contradiction(f"{where}: {name} differs from an earlier role's; declare it in one role only")
        into[name] = thing
