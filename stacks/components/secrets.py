"""The estate's secrets: its authority, one certificate per host and the database's passwords.

They are data in the sense of the safety rules: protected, and kept when the stack goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pulumi

from playbooks.render.pki import AUTHORITY_DAYS, LEAF_DAYS, Leaf
from playbooks.secrets import Certificate as IssuedCertificate
from playbooks.secrets import Passwords
from playbooks.secrets import Secrets as SecretValues
from stacks import resources


class Secrets(pulumi.ComponentResource):
    """`values` is the whole as plain data (`as_secrets` reads it), secret."""

    values: pulumi.Output[Mapping[str, Any]]

    def __init__(
        self, name: str, *, estate_name: str, leaves: tuple[Leaf, ...], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("govcloud:stacks:Secrets", name, None, opts)
        kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=True)
        child = pulumi.ResourceOptions(parent=self)
        authority = resources.Authority(
            "authority", subject=f"{estate_name} estate authority", days=AUTHORITY_DAYS, opts=kept
        )
        certificates = {
            leaf.name: resources.Certificate(
                f"certificate-{leaf.name}",
                authority=authority,
                subject=leaf.subject,
                sans=leaf.sans,
                usages=leaf.usages,
                days=LEAF_DAYS,
                opts=child,
            )
            for leaf in leaves
        }
        passwords = {what: resources.Password(f"password-{what}", opts=kept) for what in Passwords.names()}
        self.values = pulumi.Output.secret(
            pulumi.Output.all(
                authority=authority.cert,
                certificates=pulumi.Output.all(
                    **{host: pulumi.Output.all(cert=made.cert, key=made.key) for host, made in certificates.items()}
                ),
                passwords=pulumi.Output.all(**{what: made.text for what, made in passwords.items()}),
            )
        )
        self.register_outputs({})


def as_secrets(values: Mapping[str, Any]) -> SecretValues:
    """`Secrets.values` as what rendering takes."""
    return SecretValues(
        authority=values["authority"],
        certificates={name: IssuedCertificate(**pair) for name, pair in values["certificates"].items()},
        passwords=Passwords(**values["passwords"]),
    )


def unmade(leaves: tuple[Leaf, ...]) -> SecretValues:
    """Stand-in for a preview before the secrets exist: the plan shows every line except these."""
    text = "(made by the first update)\n"
    return SecretValues(
        authority=text,
        certificates={leaf.name: IssuedCertificate(cert=text, key=text) for leaf in leaves},
        passwords=Passwords(**dict.fromkeys(Passwords.names(), "x" * 32)),
    )


def texts(values: SecretValues) -> frozenset[str]:
    """Every text that must not be shown: keys and passwords."""
    keys = {pair.key for pair in values.certificates.values()}
    return frozenset(keys | set(asdict(values.passwords).values()))
