"""Which roles a host has in which layer, and what each shall do there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

from estate.addressing import AddressPlan, plan
from estate.model import Estate, Host, Kind
from playbooks.hostplan import HostInput, RoleInput
from playbooks.secrets import Secrets

CLUSTER_ROLES = frozenset({"containerd", "registry", "kubernetes_control_plane", "kubernetes_node"})
"""Needed only where the estate has Kubernetes clusters."""


class Layer(StrEnum):
    """A pass over the estate, in the order in which one builds on the other."""

    NETWORK = "network"
    DATA = "data"
    SITE = "site"
    PROVINCE = "province"


def host_input(
    estate: Estate,
    host_name: str,
    layer: Layer | str,
    secrets: Secrets | None = None,
    *,
    operator_keys: tuple[str, ...] = (),
    bgp_passwords: Mapping[str, str] | None = None,
) -> HostInput:
    """What one layer wants of one of our hosts; a layer that has nothing there gives no roles.

    `secrets` are needed by the layers data and site (ValueError without). `operator_keys` are public SSH keys,
    complete; `bgp_passwords` TCP-MD5 secrets by link.
    """
    host = estate.host(host_name)
    if host not in estate.own_hosts:
        raise ValueError(f"{host_name} is not ours: {host.at} runs it")
    addresses = plan(estate)
    roles = _roles(estate, addresses, host, Layer(layer), secrets, operator_keys, bgp_passwords or {})
    return HostInput(host=host_name, address=host.platform.address or str(addresses.management(host_name)), roles=roles)


def layer_hosts(estate: Estate, layer: Layer | str) -> tuple[Host, ...]:
    """Our hosts on which the layer has roles, in declared order."""
    kinds = {
        Layer.NETWORK: tuple(Kind),
        Layer.DATA: (Kind.DATA, Kind.OPS),
        Layer.SITE: (Kind.KUBE, Kind.OPS),
        Layer.PROVINCE: (Kind.EDGE,),
    }[Layer(layer)]
    found = [host for host in estate.own_hosts if host.kind in kinds]
    return tuple(host for host in found if layer != Layer.DATA or host.etcd_votes or host.database)


def _roles(
    estate: Estate,
    addresses: AddressPlan,
    host: Host,
    layer: Layer,
    secrets: Secrets | None,
    operator_keys: tuple[str, ...],
    passwords: Mapping[str, str],
) -> tuple[RoleInput, ...]:
    match layer:
        case Layer.NETWORK:
            return _network(estate, addresses, host, operator_keys, passwords)
        case Layer.PROVINCE:
            return _province(estate, addresses, host)
        case Layer.DATA | Layer.SITE:
            if secrets is None:
                raise ValueError(f"layer {layer} needs secrets")
            return (_data if layer is Layer.DATA else _site)(estate, addresses, host, secrets)
    assert_never(layer)


def _network(
    estate: Estate, addresses: AddressPlan, host: Host, keys: tuple[str, ...], passwords: Mapping[str, str]
) -> tuple[RoleInput, ...]:
    from playbooks.render import announcer, base, frr, nftables, node_exporter

    common = (
        base.role_input(estate, addresses, host, operator_keys=keys),
        nftables.role_input(estate, addresses, host),
        *((node_exporter.role_input(addresses, host),) if host.disk else ()),
    )
    if host.kind is not Kind.EDGE:
        return common
    return (
        *common,
        frr.role_input(estate, addresses, host, passwords=passwords),
        announcer.role_input(estate, addresses, host),
    )


def _province(estate: Estate, addresses: AddressPlan, host: Host) -> tuple[RoleInput, ...]:
    from playbooks.render import province

    return (province.role_input(estate, addresses, host),) if host.kind is Kind.EDGE else ()


def _data(estate: Estate, addresses: AddressPlan, host: Host, secrets: Secrets) -> tuple[RoleInput, ...]:
    from playbooks.render import etcd, pki, postgresql

    roles: list[RoleInput] = []
    if host.etcd_votes or host.database:
        roles.append(pki.role_input(estate, addresses, host, secrets))
    if host.etcd_votes:
        roles.append(etcd.role_input(estate, addresses, host, secrets))
    if host.database:
        roles.append(postgresql.role_input(estate, addresses, host, secrets))
    return tuple(roles)


def _site(estate: Estate, addresses: AddressPlan, host: Host, secrets: Secrets) -> tuple[RoleInput, ...]:
    from playbooks.render import approval, blackbox, ingress, pki, prometheus

    certificates = pki.role_input(estate, addresses, host, secrets)
    if host.kind is Kind.KUBE:
        return (
            certificates,
            approval.role_input(estate, addresses, host, secrets),
            ingress.role_input(estate, addresses, host, secrets),
            *_cluster(estate, addresses, host, secrets),
        )
    if host.kind is Kind.OPS:
        return (
            certificates,
            prometheus.role_input(estate, addresses, host, secrets),
            blackbox.role_input(estate, addresses, host, secrets),
        )
    return ()


def _cluster(estate: Estate, addresses: AddressPlan, host: Host, secrets: Secrets) -> tuple[RoleInput, ...]:
    """Kubernetes, on the nodes of a site that has a cluster."""
    from playbooks.render import containerd, kubernetes, kubernetes_control_plane, kubernetes_node, registry

    if host not in estate.nodes_at(host.at):
        return ()
    roles = [containerd.role_input(estate, addresses, host)]
    if kubernetes.is_control_plane(estate, host):
        roles.append(registry.role_input(estate, addresses, host, secrets))
        roles.append(kubernetes_control_plane.role_input(estate, addresses, host, secrets))
    return (*roles, kubernetes_node.role_input(estate, addresses, host, secrets))
