"""The programs: what each stack declares, read from the estate. One stack per site, however many there are.

network -> data -> every site, and province -> platform, where there are Kubernetes clusters
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from playbooks.host_spec import HostSpec
from playbooks.secrets import Secrets as SecretValues
from stacks.components.hosts import Hosts, in_order
from stacks.components.resources import below_site
from stacks.components.secrets import ClusterLeaves, Secrets, as_secrets, unmade
from stacks.programs import pod_images
from stacks.state.checkpoints import PROJECT as PROJECT
from workstation.errors import GovcloudError
from workstation.oci import Image

NETWORK, DATA, SITE, PROVINCE, PLATFORM = "network", "data", "site", "province", "platform"
WITHOUT_SECRETS = (NETWORK, PROVINCE)
"""Stacks whose hosts get no secret: they may stand before the data stack has made any."""


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
    images: Mapping[str, Image] = field(default_factory=dict)
    """What pods are started from, by name: built before the program is run."""
    clusters: frozenset[str] = field(default_factory=frozenset)
    """Sites whose Kubernetes cluster has been brought up: a preview asks no other."""


def stack_names(estate: Estate) -> tuple[str, ...]:
    """All stacks, in the order in which they are built."""
    return tuple(stack for stage in stages(estate) for stack in stage)


def stages(estate: Estate) -> tuple[tuple[str, ...], ...]:
    """Stacks by stage: those of one stage may be built side by side."""
    platform = ((PLATFORM,),) if estate.clusters else ()
    return ((NETWORK,), (DATA,), (*(site.name for site in estate.sites), PROVINCE), *platform)


def stack_kind(estate: Estate, stack: str) -> str:
    """The stack's kind, as `playbooks.role_assignment` names it: a site's stack is of the kind `site`."""
    return SITE if stack in {site.name for site in estate.sites} else stack


def stack_hosts(estate: Estate, stack: str) -> tuple[Host, ...]:
    """The hosts that a stack configures, in the order of a change to a live estate; the platform's are those through
    which it reaches the clusters."""
    from playbooks.role_assignment import hosts_of

    if stack == PLATFORM:
        return in_order(estate, (estate.nodes_at(cluster.site)[0] for cluster in estate.clusters))
    kind = stack_kind(estate, stack)
    return in_order(estate, (host for host in hosts_of(estate, kind) if kind != SITE or host.at == stack))


def left_out(context: Context, stack: str) -> list[str]:
    """Patterns of the URNs at dead sites, for the engine: what is there is neither read nor changed."""
    dead = [host for host in context.estate.managed_hosts if host.at in context.without]
    hosts = [f"urn:pulumi:{stack}::**::{stack}-{host.name}" for host in dead]
    return hosts + [below_site(stack, site) for site in sorted(context.without)]


def program(context: Context, stack: str) -> Callable[[], None]:
    """The program of a stack, for the engine to call.

    Raises KeyError for an unknown stack, GovcloudError where an image is needed that was not built.
    """
    if stack not in stack_names(context.estate):
        raise KeyError(f"unknown stack {stack!r}; known: {', '.join(stack_names(context.estate))}")
    unbuilt = [name for name in pod_images.needed(context.estate) if name not in context.images]
    if stack == PLATFORM and unbuilt:
        raise GovcloudError(
            f"there is no image of {', '.join(unbuilt)} yet", "run `./govcloud plan`: it builds the images first"
        )

    def run() -> None:
        pulumi.export("instance", context.instance)
        if stack == PLATFORM:
            from stacks.programs import (
                workloads,  # Kubernetes' SDK takes a second of imports, and no other stack needs it
            )

            workloads.declare(context, _secrets(context, stack).apply(_made))
            return
        Hosts(
            stack,
            hosts=stack_hosts(context.estate, stack),
            addresses={host.name: address_of(context, host) for host in context.estate.managed_hosts},
            instance=context.instance,
            render=lambda host, secrets: _render(context, stack, host, secrets),
            secrets=_secrets(context, stack),
            gates=gates(context),
            built=context.built,
            without=context.without,
            guarded=stack == DATA,
        )

    return run


PROBE = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/govcloud/pki/ca.crt")
urllib.request.urlopen(sys.argv[1], timeout=3, context=trust)
"""
"""Runs on a site's own ingress host, which holds the service's address itself: the site answers, or nobody."""


def gates(context: Context) -> dict[str, dict[str, Any]]:
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


def _render(context: Context, stack: str, host: Host, secrets: SecretValues | None) -> HostSpec:
    from playbooks.role_assignment import host_spec

    kind = stack_kind(context.estate, stack)
    return host_spec(context.estate, host.name, kind, secrets, operator_keys=context.operator_keys)


def _secrets(context: Context, stack: str) -> pulumi.Output[SecretValues | None]:
    from playbooks.render.pki import leaves

    if stack in WITHOUT_SECRETS:
        return pulumi.Output.from_input(None)
    wanted, clusters = leaves(context.estate, context.plan), _cluster_leaves(context)
    made: pulumi.Output[Mapping[str, Any]]
    if stack == DATA:
        made = Secrets("secrets", estate_name=context.estate.name, leaves=wanted, clusters=clusters).values
        pulumi.export("secrets", made)
    if not context.secrets_exist and pulumi.runtime.is_dry_run():
        return pulumi.Output.secret(unmade(wanted, clusters))
    if stack != DATA:
        made = pulumi.StackReference(f"organization/{PROJECT}/{DATA}").require_output("secrets")
    if pulumi.runtime.is_dry_run():
        return made.apply(lambda values: _with_unmade(as_secrets(values), unmade(wanted, clusters)))
    return made.apply(as_secrets)


def _made(values: SecretValues | None) -> SecretValues:
    assert values, "the stack has the data stack's secrets"
    return values


def _with_unmade(found: SecretValues, missing: SecretValues) -> SecretValues:
    """A preview shows what the estate has just got, before the data stack has made its secrets."""
    certificates = {**missing.certificates, **found.certificates}
    return replace(found, certificates=certificates, clusters={**missing.clusters, **found.clusters})


def _cluster_leaves(context: Context) -> dict[str, ClusterLeaves]:
    from playbooks.render.kubernetes import pki as kubernetes_pki

    return {
        cluster.site: ClusterLeaves(
            cluster=kubernetes_pki.leaves(context.estate, context.plan, cluster.site),
            etcd=kubernetes_pki.etcd_leaves(),
        )
        for cluster in context.estate.clusters
    }
