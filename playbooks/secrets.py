"""What must stay secret and is generated once by the stacks: certificates with keys, and the database's passwords.

Roles never make secrets: they are handed in, so that a lost machine comes back with the same identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

OPERATOR = "operator"
"""Key in `Secrets.certificates` of the operator's own client certificate; the others are hosts' names and gateways'."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate signed by the estate's authority, and its key. Both PEM."""

    cert: str
    key: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Passwords:
    """One password for each database login: at least 24 letters and digits, nothing that needs quoting."""

    replication: str = field(repr=False)
    """`replicator`: streaming between members. The superuser has none: it enters only from its own machine."""
    approval_owner: str = field(repr=False)
    """Owns schema `approval` and loads the registers."""
    approval_app: str = field(repr=False)
    """The approval service's own login."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The fields, in order: one random password resource for each."""
        return tuple(item.name for item in fields(cls))


@dataclass(frozen=True, kw_only=True)
class ClusterSecrets:
    """Secrets of one site's Kubernetes cluster. No key of an authority reaches a host."""

    authority: str
    """The cluster's own authority, PEM: whom it signs, the API server knows as user and groups."""
    etcd_authority: str
    """The authority of the cluster's etcd alone, PEM: nobody else's certificate opens it."""
    certificates: Mapping[str, Certificate]
    """By the names of `playbooks.render.kubernetes.pki`."""
    encryption: str = field(repr=False)
    """A password from which the key is made that encrypts Secrets at rest."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """All secrets that host inputs are rendered from."""

    authority: str
    """The estate authority's certificate, PEM. Its key never reaches a host."""
    certificates: Mapping[str, Certificate]
    """By host name, for every own host, `OPERATOR`, and by `playbooks.render.pki.gateway_certificate`."""
    passwords: Passwords
    clusters: Mapping[str, ClusterSecrets] = field(default_factory=dict)
    """By site, for every Kubernetes cluster."""
