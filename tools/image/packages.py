"""Debian packages of the image: what every machine has, and the union of what the roles install."""

from __future__ import annotations

from estate import versions
from estate.loader import load
from playbooks.install_hash import ROLES, package_names, role_names
from playbooks.role_assignment import CLUSTER_ROLES

SUITE = "bookworm"

COMMON = (
    "ca-certificates",
    "curl",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "jq",
    "kmod",
    "less",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-aiohttp",  # the applicants on the vantages
    "python3-apt",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tcpdump",
)

PEERS = ("frr", "frr-pythontools")
"""What the peers' machines run, which no role of ours configures."""


def roles() -> tuple[str, ...]:
    """Roles with an install part, which the image carries out beforehand; Kubernetes' only where it is declared."""
    found = (role for role in role_names() if (ROLES / role / "tasks" / "install.yml").exists())
    unwanted = frozenset() if load().clusters else CLUSTER_ROLES
    return tuple(role for role in found if role not in unwanted)


def kubernetes() -> str:
    """The newest version of the estate's clusters, empty where it has none: a node of another one installs its own."""
    return max((cluster.version for cluster in load().clusters), key=versions.ordered, default="")


def wanted() -> tuple[str, ...]:
    """All packages, sorted: in the image before the roles' own tasks look for them."""
    of_roles = {package for role in roles() for package in package_names(role)}
    return tuple(sorted({*COMMON, *PEERS} | of_roles))
