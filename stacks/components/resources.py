"""The resources of our provider, for use in programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import pulumi

from playbooks.host_spec import KINDS, SECRETS, HostSpec
from workstation.oci import OciImage

PACKAGE = "govcloud"
PLAYBOOK, AUTHORITY, CERTIFICATE, PASSWORD, IMAGE, HEALTH_GATE, LAST_SITE_GUARD = (
    f"{PACKAGE}:index:{name}"
    for name in ("Playbook", "Authority", "Certificate", "Password", "Image", "Gate", "Permit")
)

KUBERNETES = "kubernetes:"
"""Prefix of the types of Kubernetes objects."""
SITE = f"{PACKAGE}:sites:"
"""Prefix of the type of a site's component. The URN of each resource below it shows the site."""


def site_of(urn: str) -> str:
    """Return the site of the resource, or "" if the resource is not below a site's component."""
    first = urn.split("::")[2].partition("$")[0] if urn.count("::") >= 3 else ""
    return first.removeprefix(SITE) if first.startswith(SITE) else ""


def below_site(stack: str, site: str) -> str:
    """Return the URN pattern of all resources below the site's component, without the component itself.

    The engine creates providers in any case. A provider whose parent is excluded would corrupt the state.
    """
    return f"urn:pulumi:{stack}::{PACKAGE}::{SITE}{site}$**"


class Playbook(pulumi.CustomResource):
    """The configuration of one host by one stack.

    `wanted` is known when the secrets are known. For `guards` see `providers.last_site_guard.check`.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        address: str,
        instance: str,
        wanted: pulumi.Output[HostSpec],
        guards: Sequence[Mapping[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        rendered = {key: wanted.apply(itemgetter(key)) for key in ("roles", *KINDS)}
        rendered[SECRETS] = pulumi.Output.secret(wanted.apply(itemgetter(SECRETS)))
        super().__init__(
            PLAYBOOK, name, {"host": host, "address": address, "instance": instance, "gate": guards, **rendered}, opts
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
    """A certificate with its key, signed by `authority`. It is issued again in its renewal window."""

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
    """A random password. To get a new one, increase `generation`."""

    text: pulumi.Output[str]

    def __init__(self, name: str, *, generation: int = 1, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(PASSWORD, name, {"generation": generation, "text": None}, _secret(opts, "text"))


class Image(pulumi.CustomResource):
    """A service's image in a site's registry.

    The registry at `url` must prove the name `host`. `nodes` start pods from it: addresses by host name. `identity` is
    the operator's: `authority`, `cert` and `key`, PEM. It becomes secret.
    """

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
    """Checks that a service works at a site, by requests to `urls` on the host at `address`.

    Runs whenever `version` changes.
    """

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
    """Checks that a service's pods may be replaced at a site.

    For `guard` see `providers.last_site_guard.check`.
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
