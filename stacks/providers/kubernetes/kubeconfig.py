"""From the provider's settings to one cluster's address and credentials. What is wrong is said before any call."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stacks.providers.resource import ResourceFailed

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig

LARGEST = 1 << 20
"""Bytes of a kubeconfig: more is some other file."""


class BadKubeconfig(ResourceFailed):
    """The kubeconfig cannot be used; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How one cluster is reached. `namespace` is where namespaced objects go that name none."""

    config: SingleConfig
    namespace: str

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self.config.cluster.server)


def access(settings: Mapping[str, str], now: datetime | None = None) -> Access:
    """The access that the provider's settings give. Raises `BadKubeconfig`."""
    text, where = _text(settings.get("kubeconfig") or "")
    config = _chosen(_parsed(text, where), where, settings)
    _refuse_bad_address(str(config.cluster.server), where)
    config = config._replace(user=_with_token(config.user, where))
    _refuse_expired(config, where, now or datetime.now(UTC))
    return Access(config=config, namespace=settings.get("namespace") or config.context.namespace or "default")


def cluster_of(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """What tells one cluster from another: address and authority. None where the kubeconfig cannot be read."""
    try:
        cluster = access({key: str(value) for key, value in settings.items() if value}).config.cluster
    except BadKubeconfig:
        return None
    return str(cluster.server), str(cluster.certificate_auth_data or cluster.certificate_auth or "")


def _text(given: str) -> tuple[str, str]:
    """The kubeconfig's text and its place in words: given as text, as a path, or by the environment."""
    if "\n" in given or given.lstrip().startswith("{"):
        return given, "the kubeconfig that the provider was given"
    path = Path(given or os.environ.get("KUBECONFIG", "").split(":")[0] or "~/.kube/config").expanduser()
    where = f"the kubeconfig {path}"
    try:
        if path.stat().st_size > LARGEST:
            raise BadKubeconfig(f"{where} is larger than 1 MiB: give the path of a kubeconfig")
        return path.read_text(encoding="utf-8"), where
    except FileNotFoundError as error:
        advice = "give the provider one, or set KUBECONFIG"
        raise BadKubeconfig(f"{where} does not exist: {advice}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadKubeconfig(f"{where} cannot be read: {error}; mend it or give another one") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        at = f" (line {line + 1})" if line is not None else ""
        raise BadKubeconfig(f"{where} is no YAML{at}: get it anew from the cluster") from error
    if not isinstance(values, dict) or not isinstance(values.get("clusters"), list):
        raise BadKubeconfig(f"{where} is no kubeconfig: it has no list `clusters`; get it anew from the cluster")
    return values


def _chosen(values: dict[str, Any], where: str, settings: Mapping[str, str]) -> SingleConfig:
    import msgspec
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError

    path = Path(where.removeprefix("the kubeconfig ")) if where.startswith("the kubeconfig /") else None
    try:
        config = KubeConfig.from_dict(values, fname=path).get(settings.get("context") or None)
    except ConfigError as error:
        known = ", ".join(str(item.get("name")) for item in values.get("contexts") or () if isinstance(item, dict))
        raise BadKubeconfig(f"{where}: {error}; its contexts: {known or 'none'}") from error
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise BadKubeconfig(f"{where} is not complete: {error}; get it anew from the cluster") from error
    assert config
    if wanted := settings.get("cluster"):
        clusters = {item["name"]: item["cluster"] for item in values["clusters"]}
        if wanted not in clusters:
            raise BadKubeconfig(f"{where} has no cluster {wanted}; it has {', '.join(clusters)}")
        config = config._replace(cluster=msgspec.convert(clusters[wanted], type(config.cluster)))
    if config.user is None:
        config = config._replace(user=_nobody())
    return config


def _nobody() -> Any:
    from lightkube.config.models import User

    return User()


def _refuse_bad_address(server: str, where: str) -> None:
    """Told here: of some the HTTP library would only say that nobody answers there."""
    import httpx2

    named = f"{where}: its server {server!r}"
    if "://" not in server:
        raise BadKubeconfig(f"{named} has no https:// before it: write https://{server}")
    try:
        url = httpx2.URL(server)
    except httpx2.InvalidURL as error:
        raise BadKubeconfig(f"{named} is no address ({error}): write https://HOST:PORT") from error
    if url.scheme not in ("https", "http") or not url.host:
        raise BadKubeconfig(f"{named} is no address of an API server: write https://HOST:PORT")


def _with_token(user: Any, where: str) -> Any:
    """The user with a token that a request's header can carry; what an editor has left around it is taken off.

    The HTTP library's own refusal would quote the token.
    """
    import msgspec

    token = (user.token or "").strip()
    if not all("!" <= letter <= "~" for letter in token):
        raise BadKubeconfig(
            f"{where}: its token holds a space, a line break or a letter that no token has; get it anew"
        )
    return msgspec.structs.replace(user, token=token or None)


def _refuse_expired(config: SingleConfig, where: str, now: datetime) -> None:
    """A client certificate that has expired would only show as `remote error: tls`: told here with its date."""
    from cryptography import x509

    assert config.user
    try:
        if config.user.client_cert_data:
            pem = base64.b64decode(config.user.client_cert_data)
        elif config.user.client_cert:
            pem = Path(config.abs_file(config.user.client_cert)).read_bytes()
        else:
            return
        certificate = x509.load_pem_x509_certificate(pem)
    except (OSError, ValueError) as error:
        raise BadKubeconfig(f"{where}: its client certificate cannot be read: {error}; get it anew") from error
    if certificate.not_valid_after_utc <= now:
        day = certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")
        raise BadKubeconfig(f"{where}: its client certificate expired on {day}; get a new one from the cluster")
    if certificate.not_valid_before_utc > now:
        day = certificate.not_valid_before_utc.strftime("%Y-%m-%d %H:%M UTC")
        raise BadKubeconfig(f"{where}: its client certificate is valid from {day} only; compare the clocks")
