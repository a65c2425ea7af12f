"""The inputs of a stack's program, taken from the estate and from the current state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from estate.addressing import AddressPlan
from estate.addressing import plan as address_plan
from estate.model import Estate, Host, HostRole, Service
from stacks.components.resources import KUBERNETES, PLAYBOOK, below_site, site_of
from stacks.phases import DATA, PLATFORM
from stacks.state import store
from workstation import ssh
from workstation.errors import GovcloudError
from workstation.oci import OciImage

CONTROL_PLANE = "kubernetes_control_plane"
"""The role that makes a host the control plane of a Kubernetes cluster."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The inputs of a program. `instance` distinguishes one lab from the next. `without` names the excluded sites."""

    estate: Estate
    plan: AddressPlan
    instance: str
    operator_keys: tuple[str, ...] = ()
    """Public SSH keys that may log in to the hosts. All other keys are removed from the hosts."""
    without: frozenset[str] = field(default_factory=frozenset)
    first_build: bool = False
    """No resource of this stack exists yet, so a preview has no secrets to show."""
    built: frozenset[str] = field(default_factory=frozenset)
    """Hosts that this stack already configures, or sites on which the platform already runs pods.

    They are changed one after another. New ones are built in parallel.
    """
    secrets_exist: bool = True
    """Whether the data stack has made the secrets."""
    images: Mapping[str, OciImage] = field(default_factory=dict)
    """Images of the pods, by name. They are built before the program runs."""
    clusters: frozenset[str] = field(default_factory=frozenset)
    """Sites whose Kubernetes cluster was deployed. A preview contacts no other cluster."""


def current_context(estate: Estate, stack: str, without: Iterable[str], images: Iterable[OciImage] = ()) -> Context:
    """Return the inputs of the stack's program, for the current state."""
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
    """Whether the site's stack has deployed a cluster: the control plane's role is among the applied roles."""
    roles = (role for one in _playbooks(site) for role in (one.get("outputs") or {}).get("roles") or ())
    return any(role.get("role") == CONTROL_PLANE for role in roles)


def _with_pods() -> frozenset[str]:
    """Return the sites on whose clusters the platform has created objects."""
    objects = (one for one in store.resources(PLATFORM) if str(one.get("type")).startswith(KUBERNETES))
    return frozenset(site for one in objects if (site := site_of(str(one["urn"]))))


def operator_keys() -> tuple[str, ...]:
    """Return the public half of the operator's SSH key. Raise `GovcloudError` if the file is missing."""
    path = ssh.Access.default().key.with_suffix(".pub")
    try:
        return (path.read_text(encoding="ascii").strip(),)
    except OSError:
        raise GovcloudError(
            f"{path} is missing, so the operator could not log in to the hosts", "restore the file"
        ) from None


def excluded_urns(context: Context, stack: str) -> list[str]:
    """Return URN patterns of the resources at excluded sites. The engine neither refreshes nor changes them."""
    dead = [host for host in context.estate.managed_hosts if host.at in context.without]
    hosts = [f"urn:pulumi:{stack}::**::{stack}-{host.name}" for host in dead]
    return hosts + [below_site(stack, site) for site in sorted(context.without)]


PROBE = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/govcloud/pki/ca.crt")
urllib.request.urlopen(sys.argv[1], timeout=3, context=trust)
"""
"""Runs on a site's own ingress host, which has the service's address itself. So only this site can answer."""


def last_site_guards(context: Context, site: str) -> list[dict[str, Any]]:
    """Return the guards to check before a host of the site is changed: one for each public service active there."""
    guards = (service_guards(context, service).get(site) for service in context.estate.public_services)
    return [guard for guard in guards if guard]


def service_guards(context: Context, service: Service) -> dict[str, dict[str, Any]]:
    """Return, by active site, the sites to probe before the service is changed there. Excluded sites are not probed."""
    if not service.public:
        return {}
    sites = [site for site in service.placement.active if site not in context.without]
    fronts = {site: context.estate.hosts_at(site, HostRole.KUBE)[0] for site in sites}
    argv = ["/usr/bin/python3", "-c", PROBE, f"https://{service.name}.govcloud{service.contract.health.ready}"]
    asked = {site: address_of(context, host) for site, host in fronts.items()}
    return {site: {"site": site, "service": service.name, "argv": argv, "at": asked} for site in sites}


def address_of(context: Context, host: Host) -> str:
    """Return the address with which the operator reaches the host."""
    return str(context.plan.management(host.name))
