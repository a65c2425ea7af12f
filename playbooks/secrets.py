"""The secrets that the stacks generate once: certificates with their keys, and passwords.

Roles never generate secrets. They receive them, so that a lost machine is rebuilt with the same identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from estate.model import Estate

OPERATOR = "operator"
"""Key of the operator's own client certificate in `Secrets.certificates`. The other keys are names of hosts and of
gateways."""
REPLICATION = "replication"
"""Name of the password for the login `replicator`: streaming between database members."""


def password_names(estate: Estate) -> tuple[str, ...]:
    """Return the names of all passwords. The stacks create one random password resource for each."""
    return (REPLICATION, *(name for service in estate.services for name in service.contract.passwords))


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate signed by the estate's authority, and its key. Both PEM."""

    cert: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ClusterSecrets:
    """Secrets of one site's Kubernetes cluster. No key of an authority reaches a host."""

    authority: str
    """The cluster's own authority, PEM. The API server accepts the certificates that it signed: they name user and
    groups."""
    etcd_authority: str
    """The authority of the cluster's etcd alone, PEM. etcd accepts only certificates that it signed."""
    certificates: Mapping[str, Certificate]
    """By the names of `playbooks.render.kubernetes.pki`."""
    encryption: str = field(repr=False)
    """A password. The key that encrypts Kubernetes Secrets in etcd is derived from it."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """All secrets that the specs of hosts are rendered from."""

    authority: str
    """The estate authority's certificate, PEM. Its key never reaches a host."""
    certificates: Mapping[str, Certificate]
    """By the names of all managed hosts, `OPERATOR`, and `playbooks.render.pki.gateway_certificate`."""
    passwords: Mapping[str, str] = field(repr=False)
    """By `password_names`: at least 24 letters and digits each. No character needs quoting. The database's superuser
    has no password: it logs in only on its own machine."""
    clusters: Mapping[str, ClusterSecrets] = field(default_factory=dict)
    """By site, for every Kubernetes cluster."""

    def texts(self) -> frozenset[str]:
        """Return every text that must not be shown: keys and passwords."""
        keys = {pair.key for pair in self.certificates.values()}
        for cluster in self.clusters.values():
            keys |= {pair.key for pair in cluster.certificates.values()} | {cluster.encryption}
        return frozenset(keys | set(self.passwords.values()))
