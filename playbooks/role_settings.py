"""The settings that the steps of a role read, by role: `tasks/` of a role uses them as `<role>_settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from playbooks.host_spec import RoleSpec


class Command(TypedDict):
    """A command that prepares the database of a service."""

    service: str
    """The service, in whose Python environment the command runs."""
    environment: str
    """Path of the file with the connection of the database's owner."""
    run: list[str]
    """Module and arguments, for `python -m`."""


SETTINGS: Mapping[str, Mapping[str, type]] = {
    "service_setup": {"commands": list},  # `Command`s of this host, in order; empty on all hosts but one
    "etcd": {"ready_wait_s": int},  # longest wait until the member knows a leader
    "postgresql": {"ready_wait_s": int},  # longest wait until the member serves
    "kubernetes_control_plane": {
        "version": str,  # the version that the programs must have
        "kubeconfig": str,  # path of the kubeconfig of the host's root
        "ready_wait_s": int,  # longest wait for the API server
    },
    "kubernetes_node": {
        "version": str,  # the version that the programs must have
        "node": str,  # name of the node
        "kubeconfig": str,  # path of the kubelet's kubeconfig
        "ready_wait_s": int,  # longest wait for the node
    },
}
"""Types by name. A role that is not listed has no steps with settings."""


def check(role: RoleSpec) -> None:
    """Raise ValueError if the role's settings are not exactly the declared ones, each with its type."""
    declared = SETTINGS.get(role.role, {})
    found = {name: type(value) for name, value in role.settings.items()}
    if found != declared:
        raise ValueError(f"role {role.role}: its settings are {found}, declared are {declared}")
