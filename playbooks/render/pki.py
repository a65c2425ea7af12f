"""Who gets which certificate, and where it lies on a host.

One certificate per host, for serving and for calling: peers know each other by the authority and by the names in it.
A name with a meaning of its own lets a daemon admit by name and not merely by authority: only voters hold
`etcd.govcloud`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estate.addressing import AddressPlan, Dual
from estate.model import Estate, Host, HostRole
from playbooks.host_spec import File, RoleSpec
from playbooks.secrets import OPERATOR, Secrets

DIRECTORY = "/etc/govcloud/pki"
AUTHORITY_FILE = f"{DIRECTORY}/ca.crt"
CERT_FILE = f"{DIRECTORY}/host.crt"
KEY_FILE = f"{DIRECTORY}/host.key"
BUNDLE_FILE = f"{DIRECTORY}/host.pem"
GROUP = "govcloud-pki"
"""Members may read the host's key: the daemons that serve with it."""

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365

PRIMARY_NAME = "primary.postgresql.govcloud"
STANDBY_NAME = "standby.postgresql.govcloud"
ETCD_NAME = "etcd.govcloud"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate that the estate or a cluster needs. `name` is its key among the certificates there."""

    name: str
    subject: str
    sans: tuple[str, ...]
    usages: tuple[str, ...]
    organizations: tuple[str, ...] = ()


def leaves(estate: Estate, plan: AddressPlan) -> tuple[Leaf, ...]:
    """One for each host of ours, in declared order, the operator's, and one for each bureau's gateway."""
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
    """Key of the certificate with which the bureau's gateway serves all its host names, at every site."""
    return f"gateway-of-{bureau}"


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets, notify: Sequence[str] = ()) -> RoleSpec:
    """The authority, the host's certificate and its key, readable by `GROUP`.

    `notify` are units to reload at renewal, besides Patroni, which tells PostgreSQL; etcd reads them at each handshake.
    Raises KeyError for a host without a certificate.
    """
    own = secrets.certificates[host.name]
    told = (*notify, *(("reload:patroni.service",) if host.database else ()))
    return RoleSpec(
        role="pki",
        files=(
            File(path=AUTHORITY_FILE, text=secrets.authority, notify=told),
            File(path=CERT_FILE, text=own.cert, notify=told),
            File(path=KEY_FILE, text=own.key, group=GROUP, mode="0640", secret=True, notify=told),
            File(path=BUNDLE_FILE, text=own.cert + own.key, group=GROUP, mode="0640", secret=True, notify=told),
        ),
    )


def _sans(estate: Estate, plan: AddressPlan, host: Host) -> tuple[str, ...]:
    names, addresses = [host.name], [*_pair(plan.lan(host.name))]
    if host.database:
        names += [PRIMARY_NAME, STANDBY_NAME]
    if host.etcd_votes:
        names.append(ETCD_NAME)
    if host.kind is HostRole.KUBE:
        for service in estate.services:
            names += [service.name, f"{service.name}.govcloud"]
            addresses += _pair(plan.anycast[service.name])
    if host.etcd_votes or host.database or host.kind is HostRole.KUBE:
        names.append("localhost")
        addresses += ["127.0.0.1", "::1"]
    return (*names, *addresses)


def _pair(addresses: Dual) -> tuple[str, str]:
    return str(addresses.ipv4), str(addresses.ipv6)
