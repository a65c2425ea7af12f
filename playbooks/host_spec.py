"""The wanted state of one host as plain data: the input of a `Playbook` resource, of the roles and of the comparison.

Every text is complete and final here, so a preview can show the exact lines that would change on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """Everything that one stack wants of one host. The operator reaches the host at `address`."""

    host: str
    address: str
    roles: tuple[RoleSpec, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the form of the resource's input."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HostSpec:
        """Create the spec from JSON values."""
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
