"""The settings that the steps of a role read, by role: `tasks/` of a role uses them as `<role>_settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, get_type_hints

from playbooks.host_spec import RoleSpec


class NoSettings(TypedDict):
    """The role has no steps with settings."""


class Approval(TypedDict):
    """Preparation of the approval service's database."""

    prepare: bool
    """Whether this host applies the database schema and fills the registers."""
    people: int
    """Synthetic people in the agencies' registers; 0 does not change the registers."""
    seed: int
    """Seed of the synthetic people."""


class Ready(TypedDict):
    """The role waits until its daemon is ready."""

    ready_wait_s: int
    """Longest wait in seconds: until etcd knows a leader, or the database member serves."""


class ControlPlane(TypedDict):
    """The control plane of a cluster."""

    version: str
    """The version that the programs must have."""
    kubeconfig: str
    """Path of the kubeconfig of the host's root."""
    ready_wait_s: int
    """Longest wait for the API server in seconds."""


class Node(TypedDict):
    """A node of a cluster."""

    version: str
    """The version that the programs must have."""
    node: str
    """Name of the node."""
    kubeconfig: str
    """Path of the kubelet's kubeconfig."""
    ready_wait_s: int
    """Longest wait for the node in seconds."""


SETTINGS: Mapping[str, type] = {
    "approval": Approval,
    "etcd": Ready,
    "postgresql": Ready,
    "kubernetes_control_plane": ControlPlane,
    "kubernetes_node": Node,
}


def check(role: RoleSpec) -> None:
    """Raise ValueError if the role's settings are not exactly the declared ones, each with its type."""
    declared = get_type_hints(SETTINGS.get(role.role, NoSettings))
    found = {name: type(value) for name, value in role.settings.items()}
    if found != declared:
        raise ValueError(f"role {role.role}: its settings are {found}, declared are {declared}")
