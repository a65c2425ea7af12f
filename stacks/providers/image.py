"""`govcloud:index:Image`: a service's image in the registry of one site, by its digest.

Create and update push the image if the site's nodes can run it. Read asks the registry, so that the next run pushes a
missing image again. Delete only removes the image from the state: running pods may have to start from it once more, and
the registry itself deletes images that no cluster object references.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacks.providers.resource import Call, ResourceFailed, SiteResource
from stacks.providers.values import Properties, plain_map
from workstation import ssh
from workstation.errors import GovcloudError
from workstation.oci import MACHINES, OciImage, architecture_of, manifest_of

if TYPE_CHECKING:
    from stacks.providers.registry import Registry

UNAME_S = 10.0


class Image(SiteResource):
    """An image in a site's registry.

    Inputs:

    - `site`
    - `name` and `digest` of the image, and `folder` with its layout on this workstation
    - `url` and `host` of the registry
    - `identity`, secret: `authority`, `cert` and `key` (PEM) that authenticate to the registry
    - `nodes` that start pods from the image: addresses by host. A new node's architecture is checked.
    """

    inputs = ("site", "name", "digest", "url", "host", "nodes", "folder", "identity")
    compared = ("site", "name", "digest", "url", "host", "nodes", "identity")
    """Without `folder`, because the path of the layout differs between workstations."""
    replaced_by = ("site", "name")

    def act(self, values: dict[str, Any], call: Call) -> None:
        """Push the image. The previous image stays, for pods of the previous version."""
        from stacks.providers import registry

        subject = f"{values['site']}: image {values['name']}"
        image = OciImage(name=values["name"], folder=Path(values["folder"]), digest=values["digest"])
        try:
            if manifest_of(image.folder)[0] != image.digest:
                raise ResourceFailed(
                    f"{subject}: {image.folder} contains another image now; run the same command again"
                )
            _refuse_foreign(subject, image, values["nodes"], call)
            sent = registry.push(_registry(values), image)
        except GovcloudError as error:
            raise ResourceFailed(_one_line(f"{subject}: {error.message}", error)) from error
        except OSError as error:
            where = error.filename or image.folder
            raise ResourceFailed(
                f"{subject}: {where}: {error.strerror}; `./govcloud plan` builds a missing image"
            ) from error
        call.say(f"{subject}: {sent} part(s) were sent" if sent else f"{subject}: it is already in the registry")

    async def read(
        self, resource_id: str, state: Properties, inputs: Properties, call: Call
    ) -> tuple[str, Properties, Properties]:
        """Ask the registry for the manifest."""
        present = await asyncio.to_thread(_holds, plain_map(inputs))
        return (resource_id if present else ""), state, inputs


def _refuse_foreign(subject: str, image: OciImage, nodes: Mapping[str, str], call: Call) -> None:
    """Raise if a node has another architecture than the image. Its pods would only report "exec format error".

    An unreachable node does not stop the push: it starts no pod now, and its architecture stays the same.
    """
    own, access = architecture_of(image.folder), ssh.Access.default()
    found = dict(zip(nodes, ssh.on_each(nodes.values(), lambda address: _architecture(access, address)), strict=True))
    for host, architecture in found.items():
        if architecture is None:
            call.say(f"{subject}: {host} does not answer, so its architecture is not compared")
    answered = {host: architecture for host, architecture in found.items() if architecture is not None}
    if not answered or "" in answered.values():
        silent = ", ".join(host for host in nodes if not answered.get(host))
        raise ResourceFailed(f"{subject}: {silent} does not report its architecture; run `uname -m` on it")
    foreign = {host: architecture for host, architecture in answered.items() if architecture != own}
    if foreign:
        theirs = ", ".join(f"{host} is {architecture}" for host, architecture in foreign.items())
        one = next(iter(foreign.values()))
        raise ResourceFailed(
            f"{subject}: it is for {own}, and {theirs}: its pods could not start; "
            + _next_step(one, set(answered.values()))
        )


def _next_step(foreign: str, architectures: set[str]) -> str:
    if len(architectures) > 1:
        return "a site's nodes must have one architecture: remove the other nodes from the estate"
    return f"run the same command on a workstation that is {foreign}: images are built for the machine that builds them"


def _architecture(access: ssh.Access, address: str) -> str | None:
    """Return the architecture by its OCI name; empty if `uname -m` fails, None if the host is unreachable."""
    try:
        done = ssh.run(access, address, ["uname", "-m"], timeout_s=UNAME_S)
    except ssh.HostUnreachable:
        return None
    machine = done.stdout.decode(errors="replace").strip()
    return MACHINES.get(machine, machine) if done.returncode == 0 else ""


def _one_line(text: str, error: GovcloudError) -> str:
    return f"{text}; {error.next_step}" if error.next_step else text


def _holds(values: Mapping[str, Any]) -> bool:
    from stacks.providers import registry

    try:
        return registry.holds(_registry(values), values["name"], values["digest"])
    except GovcloudError as error:
        text = f"{values['site']}: image {values['name']}: {error.message}"
        raise ResourceFailed(_one_line(text, error)) from error


def _registry(values: Mapping[str, Any]) -> Registry:
    from stacks.providers.registry import Registry

    return Registry(url=values["url"], host=values["host"], **values["identity"])
