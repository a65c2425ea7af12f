"""`govcloud:index:Image`: a service's image in the registry of one site, by its digest.

Create and update bring it there, if the site's nodes can run it. Read asks the registry, so that one that is gone is
brought again. Delete forgets: pods that run may have to be started from it once more, and the registry
itself loses what nothing names any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi.provider.experimental.provider import DiffResponse

from stacks.providers.resource import Call, Resource, ResourceFailed, differences
from stacks.providers.values import Properties, plain, plain_map
from workstation import ssh
from workstation.errors import GovcloudError
from workstation.oci import MACHINES, OciImage, architecture_of, manifest_of

if TYPE_CHECKING:
    from stacks.providers.registry import Registry

UNAME_S = 10.0


class Image(Resource):
    """Inputs: `site`; `name` and `digest` of the image, `folder` with its layout on this workstation; `url` and `host`
    of the registry, and `identity` with which it is entered, secret: `authority`, `cert` and `key`, PEM; `nodes` that
    start pods from it, addresses by host: a new one is asked whether it can.
    """

    inputs = ("site", "name", "digest", "url", "host", "nodes", "folder", "identity")
    compared = ("site", "name", "digest", "url", "host", "nodes", "identity")
    """Where the layout lies is each workstation's own affair."""
    replaced_by = ("site", "name")

    def diff(self, olds: Properties, news: Properties) -> DiffResponse:
        """What the registry shall hold, against what it was given."""
        return differences(plain_map(olds), plain_map(news), self.compared, self.replaced_by)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Bring it there."""
        if not call.preview:
            await asyncio.to_thread(_push, news, call)
        return f"{plain(news['site'])}/{plain(news['name'])}", news

    async def read(
        self, resource_id: str, state: Properties, inputs: Properties, call: Call
    ) -> tuple[str, Properties, Properties]:
        """Ask the registry for the manifest."""
        there = await asyncio.to_thread(_holds, inputs)
        return (resource_id if there else ""), state, inputs

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Bring another one there; the former stays, for pods of the former version."""
        if not call.preview:
            await asyncio.to_thread(_push, news, call)
        return news


def _push(news: Properties, call: Call) -> None:
    from stacks.providers import registry

    values = plain_map(news)
    told = f"{values['site']}: image {values['name']}"
    image = OciImage(name=values["name"], folder=Path(values["folder"]), digest=values["digest"])
    try:
        if manifest_of(image.folder)[0] != image.digest:
            raise ResourceFailed(f"{told}: {image.folder} holds another image now; run the same command again")
        _refuse_foreign(told, image, values["nodes"], call)
        sent = registry.push(_registry(news), image)
    except GovcloudError as error:
        raise ResourceFailed(_in_a_line(f"{told}: {error.message}", error)) from error
    except OSError as error:
        where = error.filename or image.folder
        raise ResourceFailed(
            f"{told}: {where}: {error.strerror}; `./govcloud plan` builds the image where it is missing"
        ) from error
    call.say(f"{told}: {sent} part(s) were sent" if sent else f"{told}: it was there already")


def _refuse_foreign(told: str, image: OciImage, nodes: Mapping[str, str], call: Call) -> None:
    """Pods of another architecture's image only say "exec format error". A node that is dead starts none, and one that
    comes back is what it was: it holds up nobody.
    """
    own, access = architecture_of(image.folder), ssh.Access.default()
    found = dict(zip(nodes, ssh.on_each(nodes.values(), lambda address: _architecture(access, address)), strict=True))
    for host, architecture in found.items():
        if architecture is None:
            call.say(f"{told}: {host} does not answer, so its architecture is not compared")
    answered = {host: architecture for host, architecture in found.items() if architecture is not None}
    if not answered or "" in answered.values():
        silent = ", ".join(host for host in nodes if not answered.get(host))
        raise ResourceFailed(f"{told}: {silent} does not tell its architecture; look at `uname -m` there")
    foreign = {host: architecture for host, architecture in answered.items() if architecture != own}
    if foreign:
        theirs = ", ".join(f"{host} is {architecture}" for host, architecture in foreign.items())
        one = next(iter(foreign.values()))
        raise ResourceFailed(
            f"{told}: it is for {own}, and {theirs}: its pods could not start; " + _way_out(one, set(answered.values()))
        )


def _way_out(foreign: str, all_of_them: set[str]) -> str:
    if len(all_of_them) > 1:
        return "a site's nodes must be of one architecture: take the others out of the estate"
    return f"run the same command on a workstation that is {foreign}: images are built for the machine that builds them"


def _architecture(access: ssh.Access, address: str) -> str | None:
    """In the words of OCI; empty where the host does not say, None where it does not answer."""
    try:
        done = ssh.run(access, address, ["uname", "-m"], timeout_s=UNAME_S)
    except ssh.HostUnreachable:
        return None
    machine = done.stdout.decode(errors="replace").strip()
    return MACHINES.get(machine, machine) if done.returncode == 0 else ""


def _in_a_line(text: str, error: GovcloudError) -> str:
    return f"{text}; {error.next_step}" if error.next_step else text


def _holds(inputs: Properties) -> bool:
    from stacks.providers import registry

    values = plain_map(inputs)
    try:
        return registry.holds(_registry(inputs), values["name"], values["digest"])
    except GovcloudError as error:
        told = f"{values['site']}: image {values['name']}: {error.message}"
        raise ResourceFailed(_in_a_line(told, error)) from error


def _registry(inputs: Properties) -> Registry:
    from stacks.providers.registry import Registry

    values = plain_map(inputs)
    return Registry(url=values["url"], host=values["host"], **values["identity"])
