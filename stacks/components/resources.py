"""The provider's resources as programs declare them."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import pulumi

from stacks.providers.serialization import KINDS, SECRETS
from workstation.oci import OciImage

PACKAGE = "govcloud"
PLAYBOOK, AUTHORITY, CERTIFICATE, PASSWORD, IMAGE, HEALTH_GATE, LAST_SITE_GUARD = (
    f"{PACKAGE}:index:{name}"
    for name in ("Playbook", "Authority", "Certificate", "Password", "Image", "Gate", "Permit")
)

KUBERNETES = "kubernetes:"
"""How types of Kubernetes objects begin."""
SITE = f"{PACKAGE}:sites:"
"""How the type of a site's component begins: everything below it tells by its URN where it is."""


def site_of(urn: str) -> str:
    """The site below whose component the resource stands; empty where it stands below none."""
    first = urn.split("::")[2].split("$")[0] if urn.count("::") >= 3 else ""
    return first.removeprefix(SITE) if first.startswith(SITE) else ""


def below_site(stack: str, site: str) -> str:
    """URN pattern of all below the site's component. Not of itself: the engine makes providers in any case, and a
    provider whose parent is left out spoils the state."""
    return f"urn:pulumi:{stack}::{PACKAGE}::{SITE}{site}$**"


class Playbook(pulumi.CustomResource):
    """All that one stack wants of one host.

    `wanted` is `providers.serialization.properties`, known when secrets are. `guard` is as
    `providers.last_site_guard.check` takes it.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        address: str,
        instance: str,
        wanted: pulumi.Output[Mapping[str, Any]],
        guard: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        rendered = {key: wanted.apply(itemgetter(key)) for key in ("roles", *KINDS)}
        rendered[SECRETS] = pulumi.Output.secret(wanted.apply(itemgetter(SECRETS)))
        super().__init__(
            PLAYBOOK, name, {"host": host, "address": address, "instance": instance, "gate": guard, **rendered}, opts
        )


class Authority(pulumi.CustomResource):
    """The estate's certificate authority, valid for `days`."""

    cert: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(self, name: str, *, subject: str, days: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            AUTHORITY, name, {"name": subject, "days": days, "cert": None, "key": None}, _secret(opts, "key")
        )


class Certificate(pulumi.CustomResource):
    """A certificate with its key, signed by `authority`, issued anew in its renewal window."""

    cert: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        authority: Authority,
        subject: str,
        sans: tuple[str, ...],
        usages: tuple[str, ...],
        days: int,
        organizations: tuple[str, ...] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs: dict[str, Any] = {
            "authority_cert": authority.cert,
            "authority_key": authority.key,
            "subject": subject,
            "sans": list(sans),
            "usages": list(usages),
            "days": days,
            "cert": None,
            "key": None,
        }
        if organizations:
            inputs["organizations"] = list(organizations)
        super().__init__(CERTIFICATE, name, inputs, _secret(opts, "key"))


class Password(pulumi.CustomResource):
    """A random password. Raise `generation` to get a new one."""

    text: pulumi.Output[str]

    def __init__(self, name: str, *, generation: int = 1, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(PASSWORD, name, {"generation": generation, "text": None}, _secret(opts, "text"))


class Image(pulumi.CustomResource):
    """A service's image in a site's registry. `identity` is as `providers.image` takes it, and becomes secret."""

    def __init__(
        self,
        name: str,
        *,
        site: str,
        image: OciImage,
        url: str,
        host: str,
        nodes: Mapping[str, str],
        identity: pulumi.Input[Mapping[str, str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "site": site,
            "name": image.name,
            "digest": image.digest,
            "folder": str(image.folder),
            "url": url,
            "host": host,
            "nodes": dict(nodes),
            "identity": pulumi.Output.secret(identity),
        }
        super().__init__(IMAGE, name, inputs, opts)


class HealthGate(pulumi.CustomResource):
    """Whether a service works at a site: asked at `urls`, on the host at `address`, whenever `version` is another."""

    def __init__(
        self,
        name: str,
        *,
        site: str,
        service: str,
        version: pulumi.Input[str],
        address: str,
        urls: tuple[str, ...],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {"site": site, "service": service, "version": version, "address": address, "urls": list(urls)}
        super().__init__(HEALTH_GATE, name, inputs, opts)


class LastSiteGuard(pulumi.CustomResource):
    """Whether a service's pods may become others at a site.

    `guard` is as `providers.last_site_guard.check` takes it.
    """

    def __init__(
        self,
        name: str,
        *,
        site: str,
        service: str,
        version: pulumi.Input[str],
        guard: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            LAST_SITE_GUARD, name, {"site": site, "service": service, "version": version, "gate": guard}, opts
        )


def _secret(opts: pulumi.ResourceOptions | None, *outputs: str) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=list(outputs)))
