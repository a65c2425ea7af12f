"""`govcloud:index:Password`: a random secret that is generated once and stored in the encrypted state."""

from __future__ import annotations

from stacks.providers.resource import Call, Resource
from stacks.providers.values import Hidden, Properties, to_property, unknown


class Password(Resource):
    """A random secret. Input `generation`: a higher number generates a new one. Output: the secret `text`."""

    inputs = ("generation",)
    replaced_by = ("generation",)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Generate the secret."""
        if call.preview:
            return "", {**news, "text": unknown().with_secret(True)}
        from playbooks import pki

        return call.name, {**news, "text": to_property(Hidden(pki.new_password()))}

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Never called: every change replaces the resource."""
        return {**olds, **news}
