"""A host's input as resource properties, and back.

`HostSpec` holds lists; properties hold maps by path and name, so that one inserted file is one difference and not a
shift of all that follow. Each role keeps the order of its own things.

    host, address, instance
    roles:    [{role, settings, files: [path…], units: [name…], sysctls: [key…], accounts: [name…], live: [argument…]}…]
    files:    {path: {text, owner, group, mode, secret, validate, notify}}
    units:    {name: {enabled, active}}
    sysctls:  {key: value}
    accounts: {name: {groups, shell, home, keys}}
    secrets:  {"file PATH": text, "settings ROLE": {…}}

Everything secret stands in `secrets`, which is one secret to the engine; the rest stays readable in every preview. A
file or a role's settings go there when they say so, and when one of the known secret texts stands in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.host_spec import HostSpec

SECRETS = "secrets"
KINDS = ("files", "units", "sysctls", "accounts")
"""What is managed, compared on every read."""


class Contradiction(ValueError):
    """Two roles of one host want the same thing differently."""


def properties(host_spec: HostSpec, *, instance: str, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The resource's inputs. `instance` is the estate's instance that the host belongs to, `secret` known secret texts.

    Raises `Contradiction`.
    """
    shaped: dict[str, Any] = {kind: {} for kind in KINDS}
    roles = []
    for role in host_spec.as_dict()["roles"]:
        named = {kind: _by_name(kind, role[kind]) for kind in KINDS}
        for kind, things in named.items():
            _merge(shaped[kind], things, f"{host_spec.host}: {kind} of role {role['role']}")
        live = {"live": list(role["live"])} if role["live"] else {}
        things_of = {kind: list(named[kind]) for kind in KINDS}
        roles.append({"role": role["role"], "settings": role["settings"], **things_of, **live})
    hidden = _hide_files(shaped["files"], secret) | _hide_settings(roles, secret)
    return {
        "host": host_spec.host,
        "address": str(host_spec.address),
        "instance": instance,
        "roles": roles,
        **shaped,
        SECRETS: hidden,
    }


def host_spec(values: Mapping[str, Any]) -> HostSpec:
    """The inverse of `properties`, from plain values."""
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
    hidden = {path: file for path, file in files.items() if file["secret"] or _holds(file["text"], secret)}
    files.update({path: {**file, "text": "", "secret": True} for path, file in hidden.items()})
    return {f"file {path}": file["text"] for path, file in hidden.items()}


def _hide_settings(roles: list[dict[str, Any]], secret: frozenset[str]) -> dict[str, Any]:
    hidden = {}
    for role in roles:
        if _holds(role["settings"], secret):
            hidden[f"settings {role['role']}"], role["settings"] = role["settings"], {}
    return hidden


def _holds(value: Any, secret: frozenset[str]) -> bool:
    if isinstance(value, str):
        return any(text in value for text in secret)
    if isinstance(value, Mapping):
        return any(_holds(item, secret) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_holds(item, secret) for item in value)


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
