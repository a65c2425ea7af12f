"""The assignment of roles to hosts, for each stack, with their wanted state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

from estate.addressing import AddressPlan, plan
from estate.model import Estate, Host, HostRole
from playbooks import role_settings
from playbooks.host_spec import HostSpec, RoleSpec, keyed
from playbooks.secrets import Secrets

CLUSTER_ROLES = frozenset({"containerd", "registry", "kubernetes_control_plane", "kubernetes_node"})
"""Roles that are needed only if the estate has Kubernetes clusters."""


class Stack(StrEnum):
    """A unit of deployment over the whole estate.

    The order is the order in which each stack builds on the one before.
    """

    NETWORK = "network"
    DATA = "data"
    SITE = "site"
    PROVINCE = "province"


def host_spec(
    estate: Estate,
    host_name: str,
    stack: Stack | str,
    secrets: Secrets | None = None,
    *,
    operator_keys: tuple[str, ...] = (),
    bgp_passwords: Mapping[str, str] | None = None,
) -> HostSpec:
    """Return the wanted state of one managed host in one stack. It has no roles if the stack does not use the host.

    The stacks data and site need `secrets` (ValueError without). `operator_keys` is the complete list of public SSH
    keys; `bgp_passwords` are TCP-MD5 secrets by link.
    """
    address = str(plan(estate).management(host_name))
    found = roles(estate, host_name, stack, secrets, operator_keys=operator_keys, bgp_passwords=bgp_passwords)
    return keyed(host_name, address, found, secret=secrets.texts() if secrets else frozenset())


def roles(
    estate: Estate,
    host_name: str,
    stack: Stack | str,
    secrets: Secrets | None = None,
    *,
    operator_keys: tuple[str, ...] = (),
    bgp_passwords: Mapping[str, str] | None = None,
) -> tuple[RoleSpec, ...]:
    """Return the roles of one managed host in one stack, in their order. For the parameters see `host_spec`."""
    host = estate.host(host_name)
    if host not in estate.managed_hosts:
        raise ValueError(f"{host_name} is not a managed host: {host.at} runs it")
    found = _roles(estate, plan(estate), host, Stack(stack), secrets, operator_keys, bgp_passwords or {})
    for role in found:
        role_settings.check(role)
    return found


def hosts_of(estate: Estate, stack: Stack | str) -> tuple[Host, ...]:
    """Return the managed hosts on which the stack has roles, in declared order."""
    kinds = {
        Stack.NETWORK: tuple(HostRole),
        Stack.DATA: (HostRole.DATA, HostRole.OPS),
        Stack.SITE: (HostRole.KUBE, HostRole.OPS),
        Stack.PROVINCE: (HostRole.EDGE,),
    }[Stack(stack)]
    found = [host for host in estate.managed_hosts if host.kind in kinds]
    return tuple(host for host in found if stack != Stack.DATA or host.etcd_votes or host.database)


def _roles(
    estate: Estate,
    addresses: AddressPlan,
    host: Host,
    stack: Stack,
    secrets: Secrets | None,
    operator_keys: tuple[str, ...],
    passwords: Mapping[str, str],
) -> tuple[RoleSpec, ...]:
    match stack:
        case Stack.NETWORK:
            return _network(estate, addresses, host, operator_keys, passwords)
        case Stack.PROVINCE:
            return _province(estate, addresses, host)
        case Stack.DATA | Stack.SITE:
            if secrets is None:
                raise ValueError(f"stack {stack} needs secrets")
            return (_data if stack is Stack.DATA else _site)(estate, addresses, host, secrets)
    assert_never(stack)


def _network(
    estate: Estate, addresses: AddressPlan, host: Host, keys: tuple[str, ...], passwords: Mapping[str, str]
) -> tuple[RoleSpec, ...]:
    from playbooks.render import announcer, base, frr, nftables, node_exporter

    common = (
        base.role_spec(estate, addresses, host, operator_keys=keys),
        nftables.role_spec(estate, addresses, host),
        *((node_exporter.role_spec(addresses, host),) if host.disk else ()),
    )
    if host.kind is not HostRole.EDGE:
        return common
    return (
        *common,
        frr.role_spec(estate, addresses, host, passwords=passwords),
        announcer.role_spec(estate, addresses, host),
    )


def _province(estate: Estate, addresses: AddressPlan, host: Host) -> tuple[RoleSpec, ...]:
    from playbooks.render import province

    return (province.role_spec(estate, addresses, host),) if host.kind is HostRole.EDGE else ()


def _data(estate: Estate, addresses: AddressPlan, host: Host, secrets: Secrets) -> tuple[RoleSpec, ...]:
    from playbooks.render import etcd, pki, postgresql

    roles: list[RoleSpec] = []
    if host.etcd_votes or host.database:
        roles.append(pki.role_spec(host, secrets))
    if host.etcd_votes:
        roles.append(etcd.role_spec(estate, addresses, host))
    if host.database:
        roles.append(postgresql.role_spec(estate, addresses, host, secrets))
    return tuple(roles)


def _site(estate: Estate, addresses: AddressPlan, host: Host, secrets: Secrets) -> tuple[RoleSpec, ...]:
    from playbooks.render import blackbox, ingress, pki, prometheus, services

    certificates = pki.role_spec(host, secrets)
    if host.kind is HostRole.KUBE:
        return (
            certificates,
            services.role_spec(estate, addresses, host, secrets),
            ingress.role_spec(estate, addresses, host, secrets),
            *_cluster(estate, addresses, host, secrets),
        )
    if host.kind is HostRole.OPS:
        return (
            certificates,
            prometheus.role_spec(estate, addresses, host),
            blackbox.role_spec(estate, addresses, host, secrets),
        )
    return ()


def _cluster(estate: Estate, addresses: AddressPlan, host: Host, secrets: Secrets) -> tuple[RoleSpec, ...]:
    """Return the roles of Kubernetes if the host is a node of a cluster, else an empty tuple."""
    from playbooks.render import containerd, registry
    from playbooks.render.kubernetes import control_plane, node

    if host not in estate.nodes_at(host.at):
        return ()
    roles = [containerd.role_spec(estate, addresses, host)]
    if estate.is_control_plane(host):
        roles.append(registry.role_spec(estate, addresses, host, secrets))
        roles.append(control_plane.role_spec(estate, addresses, host, secrets))
    return (*roles, node.role_spec(estate, addresses, host, secrets))
