"""`govcloud:index:Password`: a random secret that is made once and kept in the encrypted state."""

from __future__ import annotations

from stacks.providers.resource import Call, Resource
from stacks.providers.values import Hidden, Properties, to_property, unknown


class Password(Resource):
    """Input `generation`: raising it makes a new one. Output `text`, secret."""

    inputs = ("generation",)
    replaced_by = ("generation",)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Draw it."""
        if call.preview:
            return "", {**news, "text": unknown().with_secret(True)}
        from playbooks import pki

        return call.name, {**news, "text": to_property(Hidden(pki.new_password()))}

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Never called: every change replaces."""
        return {**olds, **news}
