"""`govcloud:index:Permit`: whether a site's service may get other pods now: never at the only site that still answers.

As for hosts (`stacks.providers.gate`), and asked once for each version of the pods: a second run of the same
version that finds it half done does not ask again. It changes nothing, so nothing can drift, and delete forgets.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pulumi.provider.experimental.provider import DiffResponse

from stacks.providers import gate
from stacks.providers.resource import Call, Resource, differences
from stacks.providers.values import Properties, plain, plain_map


class Permit(Resource):
    """Inputs: `site`, `service`, `version` of its pods, and `gate` as `providers.gate.check` takes it."""

    inputs = ("site", "service", "version", "gate")
    compared = ("site", "service", "version")
    """Whom to ask is no reason to ask again."""
    replaced_by = ("site", "service")

    def diff(self, olds: Properties, news: Properties) -> DiffResponse:
        """Whether the pods shall become others."""
        return differences(plain_map(olds), plain_map(news), self.compared, self.replaced_by)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Ask. On a first build nobody answers, and nobody can be harmed."""
        if not call.preview:
            await asyncio.to_thread(_ask, plain_map(news))
        return f"{plain(news['site'])}/{plain(news['service'])}", news

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Ask."""
        if not call.preview:
            await asyncio.to_thread(_ask, plain_map(news))
        return news


def _ask(values: dict[str, Any]) -> None:
    gate.check(f"{values['site']}: pods", values["gate"])
