"""The images of the pods in the registry of every site. No site needs another site to start a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from stacks.components import resources
from workstation.oci import OciImage


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """A site's registry, as the operator reaches it.

    `host` is the name that the registry must prove with its certificate. `nodes` are the hosts that start pods from it:
    addresses by host name.
    """

    site: str
    url: str
    host: str
    nodes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """The images and their registry. `identity` is the operator's, secret: `authority`, `cert` and `key`, PEM."""

    images: tuple[OciImage, ...]
    registry: RegistryArgs
    identity: pulumi.Input[Mapping[str, str]]


class Images(pulumi.ComponentResource):
    """All images in one site's registry. Other resources wait for `pushed`."""

    pushed: tuple[resources.Image, ...]

    def __init__(self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Images", name, None, opts)
        self.pushed = tuple(
            resources.Image(
                f"image-{image.name}",
                site=args.registry.site,
                image=image,
                url=args.registry.url,
                host=args.registry.host,
                nodes=args.registry.nodes,
                identity=args.identity,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for image in args.images
        )
        self.register_outputs({})
