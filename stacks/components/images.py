"""What pods are started from, in the registry of every site: no site needs another one to start a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from stacks.components import resources
from workstation.oci import OciImage


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """A site's registry, as the operator reaches it. `host` is the name that it must prove to have; `nodes` are those
    that start pods from it, addresses by host.
    """

    site: str
    url: str
    host: str
    nodes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """`identity` is the operator's, secret: `authority`, `cert` and `key`, PEM."""

    images: tuple[OciImage, ...]
    registry: RegistryArgs
    identity: pulumi.Input[Mapping[str, str]]


class Images(pulumi.ComponentResource):
    """All images in one site's registry. `brought` are the resources that others wait for."""

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
