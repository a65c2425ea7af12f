"""What one host shall be, as plain data: the input of a `Playbook` resource, of the roles and of the comparison.

Every text is complete and final here, so a preview can show the very lines that would change on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class File:
    """A file with its whole text.

    `validate` is a command with `%s` for a temporary copy; it must exit 0 before the file is installed.
    `notify` names units to reload or restart when the file changed, as `reload:NAME` or `restart:NAME`.
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
    """A systemd unit, with its suffix, and the state it shall have."""

    name: str
    enabled: bool = True
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class Account:
    """A local account. `keys` are its authorised SSH public keys, complete: others are removed."""

    name: str
    groups: tuple[str, ...] = ()
    shell: str = "/usr/sbin/nologin"
    home: str = "/nonexistent"
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RoleSpec:
    """One role on one host: typed settings for its own steps, and the managed things that each read compares."""

    role: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    units: tuple[Unit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    accounts: tuple[Account, ...] = ()
    live: tuple[str, ...] = ()
    """A command that each read runs on the host, for settings that stand in no file but in the running software. It
    prints a JSON list of `{"name", "wanted", "actual"}`, empty where all is as declared; the role's own steps mend
    what is not."""


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """All that one stack wants of one host. `address` is where the operator reaches it."""

    host: str
    address: str
    roles: tuple[RoleSpec, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the resource's input."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HostSpec:
        """Back from JSON values."""
        return cls(host=value["host"], address=value["address"], roles=tuple(_role(role) for role in value["roles"]))


def _role(value: Mapping[str, Any]) -> RoleSpec:
    return RoleSpec(
        role=value["role"],
        settings=dict(value.get("settings", {})),
        files=tuple(File(**{**f, "notify": tuple(f.get("notify", ()))}) for f in value.get("files", ())),
        units=tuple(Unit(**u) for u in value.get("units", ())),
        sysctls=dict(value.get("sysctls", {})),
        live=tuple(value.get("live", ())),
        accounts=tuple(
            Account(**{**a, "groups": tuple(a.get("groups", ())), "keys": tuple(a.get("keys", ()))})
            for a in value.get("accounts", ())
        ),
    )
