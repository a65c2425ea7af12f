"""Debian packages of the image: the packages of every machine, and the packages of all roles."""

from __future__ import annotations

from estate import versions
from estate.loader import load
from playbooks.install_hash import package_names, role_names
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
    "python3-aiohttp",  # the load generators on the vantages
    "python3-apt",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tcpdump",
)

PEERS = ("frr", "frr-pythontools")
"""Packages of the peers' machines, which no role configures."""


def roles() -> tuple[str, ...]:
    """Return the roles whose install parts the image runs in advance.

    The roles of Kubernetes are included only if the estate declares a cluster.
    """
    unwanted = frozenset() if load().clusters else CLUSTER_ROLES
    return tuple(role for role in role_names() if role not in unwanted)


def kubernetes() -> str:
    """Return the newest version of the estate's clusters; empty without a cluster.

    A node with another version installs its own version.
    """
    return max((cluster.version for cluster in load().clusters), key=versions.ordered, default="")


def wanted() -> tuple[str, ...]:
    """Return all packages, sorted. They are in the image before the roles' tasks check for them."""
    of_roles = {package for role in roles() for package in package_names(role)}
    return tuple(sorted({*COMMON, *PEERS} | of_roles))
