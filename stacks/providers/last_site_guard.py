"""The guard of a change to a live estate: never the only site that still answers.

The program hands in, for a host at a serving site, where each serving site can be asked and how. Before a declared
change is made to the host, all are asked: where the host's own site answers and no other does, the change is refused.
A site that does not answer may always be changed, and a hand edit may always be put right: that is how it is repaired.

`govcloud:index:Permit` asks the same for the pods of a site's service, once for each version of the pods: a second run
of the same version that finds it half done does not ask again. It changes nothing, so nothing can drift, and delete
forgets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pulumi.provider.experimental.provider import DiffResponse

from stacks.providers.resource import Call, Resource, ResourceFailed, differences
from stacks.providers.values import Properties, plain, plain_map
from workstation import ssh

PROBE_TIMEOUT_S = 10.0


def check(host: str, guard: Mapping[str, Any]) -> None:
    """Ask all sites of the guard: `{"site", "service", "argv", "at": {site: address}}`; an empty one is open.

    Raises `ResourceFailed` where the host's site is the only one that answers.
    """
    places = dict(guard.get("at") or {})
    if not places:
        return
    access = ssh.Access.default()
    answers = ssh.on_each(places.values(), lambda address: _answers(access, address, list(guard["argv"])))
    reason = refusal(guard["site"], dict(zip(places, answers, strict=True)))
    if reason:
        raise ResourceFailed(f"{host}: not changed: {guard['service']}: {reason}")


def refusal(site: str, answering: Mapping[str, bool]) -> str:
    """Why a host at `site` must not be changed now; empty where it may."""
    others = [name for name in answering if name != site]
    if not answering.get(site) or not others or any(answering[name] for name in others):
        return ""
    return (
        f"{site} is the only site that answers; {', '.join(others)} does not. Bring it back first, "
        f"or name it as dead with --without {others[0]}"
    )


def _answers(access: ssh.Access, address: str, argv: list[str]) -> bool:
    try:
        return ssh.run(access, address, argv, timeout_s=PROBE_TIMEOUT_S).returncode == 0
    except ssh.HostUnreachable:
        return False


class LastSiteGuard(Resource):
    """`govcloud:index:Permit`: whether a site's service may get other pods now.

    Inputs: `site`, `service`, `version` of its pods, and `gate` as `check` takes it."""

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
    check(f"{values['site']}: pods", values["gate"])
