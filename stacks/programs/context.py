"""What a program is run with, taken from the estate and from the state as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from estate.addressing import AddressPlan
from estate.addressing import plan as address_plan
from estate.model import Estate, Host, HostRole
from stacks.components.resources import KUBERNETES, PLAYBOOK, below_site, site_of
from stacks.phases import DATA, PLATFORM
from stacks.state import store
from workstation import ssh
from workstation.errors import GovcloudError
from workstation.oci import OciImage

CONTROL_PLANE = "kubernetes_control_plane"
"""The role that makes a host the head of a Kubernetes cluster."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a program is run with. `instance` tells one lab from the next; `without` names dead sites."""

    estate: Estate
    plan: AddressPlan
    instance: str
    operator_keys: tuple[str, ...] = ()
    """Public SSH keys that open the hosts; others are removed from them."""
    without: frozenset[str] = field(default_factory=frozenset)
    first_build: bool = False
    """Nothing of this stack exists yet: a preview has no secrets to show."""
    built: frozenset[str] = field(default_factory=frozenset)
    """Hosts that this stack configures already, or sites that it has put pods on: they are changed one after the other,
    new ones side by side."""
    secrets_exist: bool = True
    """Whether the data stack has made the secrets."""
    images: Mapping[str, OciImage] = field(default_factory=dict)
    """What pods are started from, by name: built before the program is run."""
    clusters: frozenset[str] = field(default_factory=frozenset)
    """Sites whose Kubernetes cluster has been brought up: a preview asks no other."""


def current_context(estate: Estate, stack: str, without: Iterable[str], images: Iterable[OciImage] = ()) -> Context:
    """What the stack's program is run with, as the state is now."""
    return Context(
        estate=estate,
        plan=address_plan(estate),
        instance=store.instance(estate),
        operator_keys=operator_keys(),
        without=frozenset(without),
        first_build=not store.resources(stack),
        built=_with_pods() if stack == PLATFORM else frozenset(str(one["id"]) for one in _playbooks(stack)),
        secrets_exist=bool(store.resources(DATA)),
        images={image.name: image for image in images},
        clusters=frozenset(cluster.site for cluster in estate.clusters if _has_control_plane(cluster.site)),
    )


def _playbooks(stack: str) -> list[dict[str, Any]]:
    return [one for one in store.resources(stack) if one.get("type") == PLAYBOOK and one.get("id")]


def _has_control_plane(site: str) -> bool:
    """Whether the site's stack has brought one up: its role is among those that were applied."""
    roles = (role for one in _playbooks(site) for role in (one.get("outputs") or {}).get("roles") or ())
    return any(role.get("role") == CONTROL_PLANE for role in roles)


def _with_pods() -> frozenset[str]:
    """Sites on whose clusters the platform has put something."""
    objects = (one for one in store.resources(PLATFORM) if str(one.get("type")).startswith(KUBERNETES))
    return frozenset(site for one in objects if (site := site_of(str(one["urn"]))))


def operator_keys() -> tuple[str, ...]:
    """The public half of the key with which the operator enters hosts. Raises `GovcloudError` where there is none."""
    path = ssh.Access.default().key.with_suffix(".pub")
    try:
        return (path.read_text(encoding="ascii").strip(),)
    except OSError:
        raise GovcloudError(f"{path} is missing, so the hosts would be closed to the operator", "restore it") from None


def excluded_urns(context: Context, stack: str) -> list[str]:
    """Patterns of the URNs at dead sites, for the engine: what is there is neither read nor changed."""
    dead = [host for host in context.estate.managed_hosts if host.at in context.without]
    hosts = [f"urn:pulumi:{stack}::**::{stack}-{host.name}" for host in dead]
    return hosts + [below_site(stack, site) for site in sorted(context.without)]


PROBE = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/govcloud/pki/ca.crt")
urllib.request.urlopen(sys.argv[1], timeout=3, context=trust)
"""
"""Runs on a site's own ingress host, which holds the service's address itself: the site answers, or nobody."""


def last_site_guards(context: Context) -> dict[str, dict[str, Any]]:
    """By serving site, whom to ask before one of its hosts is changed. Sites named as dead are not asked."""
    found: dict[str, dict[str, Any]] = {}
    for service in context.estate.services:
        sites = [site for site in service.placement.active if site not in context.without]
        fronts = {site: context.estate.hosts_at(site, HostRole.KUBE)[0] for site in sites}
        argv = ["/usr/bin/python3", "-c", PROBE, f"https://{service.name}.govcloud/readyz"]
        asked = {site: address_of(context, host) for site, host in fronts.items()}
        for site in sites:
            found[site] = {"site": site, "service": service.name, "argv": argv, "at": asked}
    return found


def address_of(context: Context, host: Host) -> str:
    """Where the operator reaches the host: what the estate says, or the computed management address."""
    return str(host.platform.address or context.plan.management(host.name))
