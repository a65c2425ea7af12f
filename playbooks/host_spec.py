"""The wanted state of one host as plain data: the input of a `Playbook` resource, of the roles and of the comparison.

Every text is complete and final here, so a preview can show the exact lines that would change on the host. Renderers
return a `RoleSpec` for each role. `keyed` makes one `HostSpec` of them, and nothing converts it again:

    host, address
    roles:    [{role, settings, files: [path…], units: [name…], sysctls: [key…], accounts: [name…], live: [argument…]}…]
    files:    {path: {text, owner, group, mode, secret, validate, notify}}
    units:    {name: {enabled, active}}
    sysctls:  {key: value}
    accounts: {name: {groups, shell, home, keys}}
    secrets:  {"file PATH": text, "settings ROLE": {…}}

An item is stored by its path or name, so that an inserted file is one difference and does not shift all later files.
Each role keeps the order of its own items. All secret values are in `secrets`, which is one secret for the engine and
for Ansible. Every preview shows the rest in plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from playbooks.host_programs.managed import RoleKeys, Spec

KINDS = ("files", "units", "sysctls", "accounts")
"""Managed kinds, which every read compares."""
SECRETS = "secrets"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file with its whole text.

    `validate` is a command with `%s` for a temporary copy; it must exit 0 before the file is installed.
    `notify` names the units to reload or restart after the file changed, as `reload:NAME` or `restart:NAME`.
    `secret` keeps the text out of previews and logs.
    """

    path: str
    text: str
    owner: str = "root"
    group: str = "root"
    mode: str = "0644"
    secret: bool = False
    validate: str = ""
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A systemd unit, named with its suffix, and its wanted state."""

    name: str
    enabled: bool = True
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class Account:
    """A local account. `keys` is the complete list of its authorised SSH public keys: other keys are removed."""

    name: str
    groups: tuple[str, ...] = ()
    shell: str = "/usr/sbin/nologin"
    home: str = "/nonexistent"
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoleSpec:
    """One role on one host: typed settings for its own steps, and the managed things that each refresh compares."""

    role: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    units: tuple[Unit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    accounts: tuple[Account, ...] = ()
    live: tuple[str, ...] = ()
    """A command that each refresh runs on the host, for settings that are in the running software and in no file. It
    prints a JSON list of `{"name", "wanted", "actual"}`, empty if all settings are as declared. The role's own steps
    correct the listed settings."""


class HostSpec(Spec):
    """Everything that one stack wants of one host. The operator reaches the host at `address`."""

    host: str
    address: str


class Contradiction(ValueError):
    """Two roles of one host declare the same item with different values."""


def keyed(host: str, address: str, roles: Iterable[RoleSpec], *, secret: frozenset[str] = frozenset()) -> HostSpec:
    """Return the host's spec. `secret` are the known secret texts. Raise `Contradiction`.

    A file moves to the secrets if it is marked as secret. A file or a role's settings also move there if they contain
    a known secret.
    """
    items: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    keys = []
    for role in roles:
        own = _items(role)
        for kind in KINDS:
            for name, item in own[kind].items():
                if items[kind].setdefault(name, item) != item:
                    where = f"{host}: {kind} of role {role.role}: {name}"
                    raise Contradiction(f"{where} differs from an earlier role's; declare it in one role only")
        live = {"live": list(role.live)} if role.live else {}
        keys.append(
            {"role": role.role, "settings": dict(role.settings), **{kind: list(own[kind]) for kind in KINDS}, **live}
        )
    secrets = _hide_files(items["files"], secret) | _hide_settings(keys, secret)
    return cast(HostSpec, {"host": host, "address": address, "roles": keys, **items, SECRETS: secrets})


def settings_of(spec: Spec, role: RoleKeys) -> Mapping[str, Any]:
    """Return the role's settings, also if they are secret."""
    found: Mapping[str, Any] = spec["secrets"].get(f"settings {role['role']}", role["settings"])
    return found


def _items(role: RoleSpec) -> dict[str, dict[str, Any]]:
    return {
        "files": {file.path: _plain(file, "path") for file in role.files},
        "units": {unit.name: _plain(unit, "name") for unit in role.units},
        "sysctls": dict(role.sysctls),
        "accounts": {account.name: _plain(account, "name") for account in role.accounts},
    }


def _plain(item: File | Unit | Account, key: str) -> dict[str, Any]:
    """Return the item without its key. Tuples become lists, so that values compare equal to those that gRPC returns."""
    fields = asdict(item)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items() if name != key}


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
