"""The program of each stack: the resources that it declares, computed from the estate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pulumi

from estate.model import Host
from playbooks.host_spec import HostSpec
from playbooks.secrets import Secrets as SecretValues
from playbooks.secrets import password_names
from stacks.components.hosts import DeclaredHost, Hosts
from stacks.components.secrets import ClusterLeaves, Secrets, as_secrets, placeholders
from stacks.phases import DATA, PLATFORM, WITHOUT_SECRETS, stack_names
from stacks.programs import pod_images
from stacks.programs.context import Context, address_of, last_site_guards
from stacks.programs.stack_hosts import stack_hosts, stack_kind
from stacks.state.state_files import PROJECT
from workstation.errors import GovcloudError


def program(context: Context, stack: str) -> Callable[[], None]:
    """Return the program of a stack, for the engine to call.

    Raise KeyError for an unknown stack, and GovcloudError if a needed image was not built.
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
            # The import of the Kubernetes SDK takes a second, and no other stack needs it.
            from stacks.programs import workloads

            workloads.declare(context, _secrets(context, stack).apply(_require_secrets))
            return
        Hosts(stack, hosts=_declared_hosts(context, stack), instance=context.instance, protected=stack == DATA)

    return run


def _declared_hosts(context: Context, stack: str) -> list[DeclaredHost]:
    secrets = _secrets(context, stack)
    return [
        DeclaredHost(
            host=host,
            address=address_of(context, host),
            wanted=pulumi.Output.unsecret(secrets.apply(partial(_render, context, stack, host))),
            guards=last_site_guards(context, host.at),
            managed=host.name in context.built,
            reachable=host.at not in context.without,
        )
        for host in stack_hosts(context.estate, stack)
    ]


def _render(context: Context, stack: str, host: Host, secrets: SecretValues | None) -> HostSpec:
    from playbooks.role_assignment import host_spec

    kind = stack_kind(context.estate, stack)
    return host_spec(context.estate, host.name, kind, secrets, operator_keys=context.operator_keys)


def _secrets(context: Context, stack: str) -> pulumi.Output[SecretValues | None]:
    from playbooks.render.pki import leaves

    if stack in WITHOUT_SECRETS:
        return pulumi.Output.from_input(None)
    wanted, clusters = leaves(context.estate, context.plan), _cluster_leaves(context)
    passwords = password_names(context.estate)
    output: pulumi.Output[Mapping[str, Any]]
    if stack == DATA:
        name = context.estate.name
        output = Secrets("secrets", estate_name=name, leaves=wanted, passwords=passwords, clusters=clusters).values
        pulumi.export("secrets", output)
    if not context.secrets_exist and pulumi.runtime.is_dry_run():
        return pulumi.Output.secret(placeholders(wanted, passwords, clusters))
    if stack != DATA:
        output = pulumi.StackReference(f"organization/{PROJECT}/{DATA}").require_output("secrets")
    if pulumi.runtime.is_dry_run():
        missing = placeholders(wanted, passwords, clusters)
        return output.apply(lambda values: _with_placeholders(as_secrets(values), missing))
    return output.apply(as_secrets)


def _require_secrets(values: SecretValues | None) -> SecretValues:
    assert values, "the stack has the data stack's secrets"
    return values


def _with_placeholders(found: SecretValues, missing: SecretValues) -> SecretValues:
    """Add placeholders for secrets that the data stack has not made yet, so that a preview shows new hosts, clusters
    and services.
    """
    return replace(
        found,
        certificates={**missing.certificates, **found.certificates},
        passwords={**missing.passwords, **found.passwords},
        clusters={**missing.clusters, **found.clusters},
    )


def _cluster_leaves(context: Context) -> dict[str, ClusterLeaves]:
    from playbooks.render.kubernetes import pki as kubernetes_pki

    return {
        cluster.site: ClusterLeaves(
            cluster=kubernetes_pki.leaves(context.estate, context.plan, cluster.site),
            etcd=kubernetes_pki.etcd_leaves(),
        )
        for cluster in context.estate.clusters
    }
