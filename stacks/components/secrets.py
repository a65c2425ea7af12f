"""The estate's secrets: its certificate authority, one certificate per host, and the database's passwords.

The safety rules treat authorities and passwords as data: they are protected, and kept when the stack is destroyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from playbooks.render.pki import AUTHORITY_DAYS, LEAF_DAYS, Leaf
from playbooks.secrets import Certificate as IssuedCertificate
from playbooks.secrets import ClusterSecrets as ClusterValues
from playbooks.secrets import Secrets as SecretValues
from stacks.components import resources


@dataclass(frozen=True, kw_only=True)
class ClusterLeaves:
    """The certificates of one Kubernetes cluster, by the authority that signs them."""

    cluster: tuple[Leaf, ...]
    etcd: tuple[Leaf, ...]


class Secrets(pulumi.ComponentResource):
    """All secrets. `values` is one secret output of plain data, to be read with `as_secrets`."""

    values: pulumi.Output[Mapping[str, Any]]

    def __init__(
        self,
        name: str,
        *,
        estate_name: str,
        leaves: tuple[Leaf, ...],
        passwords: tuple[str, ...],
        clusters: Mapping[str, ClusterLeaves] | None = None,
    ) -> None:
        super().__init__("govcloud:stacks:Secrets", name)
        kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True)
        child = pulumi.ResourceOptions(parent=self)
        authority = resources.Authority(
            "authority", subject=f"{estate_name} estate authority", days=AUTHORITY_DAYS, opts=kept
        )
        certificates = _issued(authority, leaves, "certificate", child)
        made = {what: resources.Password(f"password-{what}", opts=kept) for what in passwords}
        parts: dict[str, pulumi.Output[Any]] = {
            "authority": authority.cert,
            "certificates": certificates,
            "passwords": pulumi.Output.all(**{what: password.text for what, password in made.items()}),
        }
        if clusters:
            values = {site: _cluster(estate_name, site, wanted, kept, child) for site, wanted in clusters.items()}
            parts["clusters"] = pulumi.Output.all(**values)
        self.values = pulumi.Output.secret(pulumi.Output.all(**parts))
        self.register_outputs({})


def _cluster(
    estate_name: str,
    site: str,
    wanted: ClusterLeaves,
    kept: pulumi.ResourceOptions,
    child: pulumi.ResourceOptions,
) -> pulumi.Output[Any]:
    authority, etcd = (
        resources.Authority(
            f"authority-{what}-{site}", subject=f"{estate_name} {site} {what} authority", days=AUTHORITY_DAYS, opts=kept
        )
        for what in ("kubernetes", "etcd")
    )
    return pulumi.Output.all(
        authority=authority.cert,
        etcd_authority=etcd.cert,
        certificates=pulumi.Output.all(
            cluster=_issued(authority, wanted.cluster, f"kubernetes-{site}", child),
            etcd=_issued(etcd, wanted.etcd, f"kubernetes-{site}", child),
        ).apply(lambda parts: {**parts["cluster"], **parts["etcd"]}),
        encryption=resources.Password(f"encryption-{site}", opts=kept).text,
    )


def _issued(
    authority: resources.Authority, leaves: tuple[Leaf, ...], prefix: str, opts: pulumi.ResourceOptions
) -> pulumi.Output[Any]:
    issued = {
        leaf.name: resources.Certificate(
            f"{prefix}-{leaf.name}",
            authority=authority,
            subject=leaf.subject,
            sans=leaf.sans,
            usages=leaf.usages,
            organizations=leaf.organizations,
            days=LEAF_DAYS,
            opts=opts,
        )
        for leaf in leaves
    }
    return pulumi.Output.all(**{name: pulumi.Output.all(cert=one.cert, key=one.key) for name, one in issued.items()})


def as_secrets(values: Mapping[str, Any]) -> SecretValues:
    """Convert `Secrets.values` to the type that rendering takes."""
    return SecretValues(
        authority=values["authority"],
        certificates={name: IssuedCertificate(**pair) for name, pair in values["certificates"].items()},
        passwords=dict(values["passwords"]),
        # The state of an estate that was built before it had clusters lacks this key.
        clusters={site: _cluster_values(cluster) for site, cluster in values.get("clusters", {}).items()},
    )


def _cluster_values(values: Mapping[str, Any]) -> ClusterValues:
    certificates = {name: IssuedCertificate(**pair) for name, pair in values["certificates"].items()}
    return ClusterValues(**{**values, "certificates": certificates})


def placeholders(
    leaves: tuple[Leaf, ...], passwords: tuple[str, ...], clusters: Mapping[str, ClusterLeaves]
) -> SecretValues:
    """Return placeholders for a preview before the secrets exist. The plan then shows every line except the secrets."""
    text = "(made by the first update)\n"
    unknown = IssuedCertificate(cert=text, key=text)
    return SecretValues(
        authority=text,
        certificates={leaf.name: unknown for leaf in leaves},
        passwords=dict.fromkeys(passwords, "x" * 32),
        clusters={
            site: ClusterValues(
                authority=text,
                etcd_authority=text,
                certificates={leaf.name: unknown for leaf in (*wanted.cluster, *wanted.etcd)},
                encryption="x" * 32,
            )
            for site, wanted in clusters.items()
        },
    )
