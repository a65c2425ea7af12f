"""`govcloud:index:Authority` and `govcloud:index:Certificate`: the estate's PKI.

Private keys are stored only in the encrypted state.
"""

from __future__ import annotations

from pulumi.provider.experimental.provider import DiffResponse, PropertyDiff, PropertyDiffKind

from stacks.providers.resource import Call, Resource
from stacks.providers.values import Hidden, Properties, is_unknown, plain, plain_map, to_property, unknown


class Authority(Resource):
    """A certificate authority. Inputs `name`, `days`; outputs `cert` and the secret `key`.

    It is never renewed automatically, because every host trusts a file with its certificate.
    """

    inputs = ("name", "days")
    replaced_by = ("name",)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Create the key and the certificate."""
        if call.preview:
            return "", {**news, "cert": unknown(), "key": unknown().with_secret(True)}
        from playbooks import pki

        key, cert = pki.new_authority(plain(news["name"]), plain(news["days"]))
        return call.name, {**news, "cert": to_property(cert), "key": to_property(Hidden(key))}

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Record the new `days`. They apply only to the next authority."""
        return {**olds, **news}


class Certificate(Resource):
    """A certificate that one of our authorities issues.

    Inputs: `authority_cert`, `authority_key`, `subject`, `sans`, `usages`, `days`, and optionally `organizations`.
    Outputs: `cert` and the secret `key`.
    When the renewal window has begun, the certificate counts as changed, so that the next run issues it again.
    """

    inputs = ("authority_cert", "authority_key", "subject", "sans", "usages", "days")
    optional = ("organizations",)

    def diff(self, olds: Properties, news: Properties) -> DiffResponse:
        """Return the changed inputs. Report `cert` as changed if the renewal window has begun."""
        found = super().diff(olds, news)
        if not found.changes and _due(olds):
            found.changes = True
            found.diffs = ["cert"]
            found.detailed_diff = {"cert": PropertyDiff(PropertyDiffKind.UPDATE, input_diff=False)}
        return found

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Issue the certificate."""
        return ("" if call.preview else call.name), self._issue(news, call)

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Issue the certificate again, with a new key."""
        return self._issue(news, call)

    def _issue(self, news: Properties, call: Call) -> Properties:
        if call.preview or any(is_unknown(item) for item in news.values()):
            return {**news, "cert": unknown(), "key": unknown().with_secret(True)}
        from playbooks import pki

        values = plain_map(news)
        key, cert = pki.issue(
            pki.Authority(key=values["authority_key"], cert=values["authority_cert"]),
            values["subject"],
            tuple(values["sans"]),
            values["days"],
            tuple(values["usages"]),
            tuple(values.get("organizations") or ()),
        )
        return {**news, "cert": to_property(cert), "key": to_property(Hidden(key))}


def _due(olds: Properties) -> bool:
    from playbooks import pki

    cert = olds.get("cert")
    return bool(cert and cert.value and pki.due(plain(cert)))
