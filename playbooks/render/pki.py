"""The certificates of the estate: their owners, and their files on a host.

Each host has one certificate, as server and as client. Peers identify each other by the authority and by the names in
the certificate. By a special name a daemon admits only some hosts instead of all hosts of the authority: only etcd
voters have `etcd.govcloud`.
"""

from __future__ import annotations

from dataclasses import dataclass

from estate.addressing import AddressPlan, Dual
from estate.model import Estate, Host, HostRole
from facts import host_paths
from playbooks.host_spec import File, RoleSpec
from playbooks.secrets import OPERATOR, Secrets

DIRECTORY = host_paths.PKI
AUTHORITY_FILE = host_paths.CA_FILE
CERT_FILE = host_paths.CERT_FILE
KEY_FILE = host_paths.KEY_FILE
BUNDLE_FILE = f"{DIRECTORY}/host.pem"
GROUP = "govcloud-pki"
"""Members may read the host's key. They are the daemons that use it."""

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365

PRIMARY_NAME = "primary.postgresql.govcloud"
STANDBY_NAME = "standby.postgresql.govcloud"
ETCD_NAME = "etcd.govcloud"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate that the estate or a cluster needs. `name` is its key among the certificates of that owner."""

    name: str
    subject: str
    sans: tuple[str, ...]
    usages: tuple[str, ...]
    organizations: tuple[str, ...] = ()


def leaves(estate: Estate, plan: AddressPlan) -> tuple[Leaf, ...]:
    """Return the certificates of all managed hosts in declared order, of the operator, and of the bureaus' gateways."""
    hosts = (
        Leaf(name=host.name, subject=host.name, sans=_sans(estate, plan, host), usages=("server", "client"))
        for host in estate.managed_hosts
    )
    operator = Leaf(name=OPERATOR, subject=OPERATOR, sans=(OPERATOR,), usages=("client",))
    gateways = (
        Leaf(
            name=gateway_certificate(bureau.name),
            subject=bureau.gateway_name,
            sans=tuple(bureau.gateway.hosts),
            usages=("server",),
        )
        for bureau in estate.bureaus
        if bureau.gateway
    )
    return (*hosts, operator, *gateways)


def gateway_certificate(bureau: str) -> str:
    """Return the key of the certificate that the bureau's gateway uses for all its host names, at every site."""
    return f"gateway-of-{bureau}"


def role_spec(host: Host, secrets: Secrets) -> RoleSpec:
    """Return the role: the authority, the host's certificate and its key, readable by `GROUP`.

    A renewal reloads Patroni, and Patroni reloads PostgreSQL. etcd reads the files at each handshake. Raise KeyError
    for a host without a certificate.
    """
    own = secrets.certificates[host.name]
    units = ("reload:patroni.service",) if host.database else ()
    return RoleSpec(
        role="pki",
        files=(
            File(path=AUTHORITY_FILE, text=secrets.authority, notify=units),
            File(path=CERT_FILE, text=own.cert, notify=units),
            File(path=KEY_FILE, text=own.key, group=GROUP, mode="0640", secret=True, notify=units),
            File(path=BUNDLE_FILE, text=own.cert + own.key, group=GROUP, mode="0640", secret=True, notify=units),
        ),
    )


def _sans(estate: Estate, plan: AddressPlan, host: Host) -> tuple[str, ...]:
    names, addresses = [host.name], [*_pair(plan.lan(host.name))]
    if host.database:
        names += [PRIMARY_NAME, STANDBY_NAME]
    if host.etcd_votes:
        names.append(ETCD_NAME)
    if host.kind is HostRole.KUBE:
        for service in estate.public_services:
            names += [service.name, f"{service.name}.govcloud"]
            addresses += _pair(plan.anycast[service.name])
    if host.etcd_votes or host.database or host.kind is HostRole.KUBE:
        names.append("localhost")
        addresses += ["127.0.0.1", "::1"]
    return (*names, *addresses)


def _pair(addresses: Dual) -> tuple[str, str]:
    return str(addresses.ipv4), str(addresses.ipv6)
