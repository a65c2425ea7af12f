"""Read one cluster's address and credentials from the provider's settings, and report problems before any call."""

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
"""Maximum bytes of a kubeconfig. A larger file is not a kubeconfig."""


class BadKubeconfig(ResourceFailed):
    """The kubeconfig cannot be used. The text has the cause and the next step."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Address and credentials of one cluster. `namespace` is the default for objects that declare no namespace."""

    config: SingleConfig
    namespace: str

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self.config.cluster.server)


def access(settings: Mapping[str, str], now: datetime | None = None) -> Access:
    """Return the access for the provider's settings. Raises `BadKubeconfig`."""
    text, where = _text(settings.get("kubeconfig") or "")
    config = _chosen(_parsed(text, where), where, settings)
    _refuse_bad_address(str(config.cluster.server), where)
    config = config._replace(user=_with_token(config.user, where))
    _refuse_expired(config, where, now or datetime.now(UTC))
    return Access(config=config, namespace=settings.get("namespace") or config.context.namespace or "default")


def cluster_of(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the identity of the cluster: address and authority. Return None if the kubeconfig cannot be read."""
    try:
        cluster = access({key: str(value) for key, value in settings.items() if value}).config.cluster
    except BadKubeconfig:
        return None
    return str(cluster.server), str(cluster.certificate_auth_data or cluster.certificate_auth or "")


def _text(given: str) -> tuple[str, str]:
    """Return the kubeconfig's text and a description of its place. Sources: the text, a path or the environment."""
    if "\n" in given or given.lstrip().startswith("{"):
        return given, "the kubeconfig in the provider's settings"
    path = Path(given or os.environ.get("KUBECONFIG", "").split(":")[0] or "~/.kube/config").expanduser()
    where = f"the kubeconfig {path}"
    try:
        if path.stat().st_size > LARGEST:
            raise BadKubeconfig(f"{where} is larger than 1 MiB: give the path of a kubeconfig")
        return path.read_text(encoding="utf-8"), where
    except FileNotFoundError as error:
        advice = "configure one for the provider, or set KUBECONFIG"
        raise BadKubeconfig(f"{where} does not exist: {advice}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadKubeconfig(f"{where} cannot be read: {error}; repair it or use another one") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        at = f" (line {line + 1})" if line is not None else ""
        raise BadKubeconfig(f"{where} is not YAML{at}: get a new one from the cluster") from error
    if not isinstance(values, dict) or not isinstance(values.get("clusters"), list):
        raise BadKubeconfig(f"{where} is not a kubeconfig: it has no list `clusters`; get a new one from the cluster")
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
        raise BadKubeconfig(f"{where} is not complete: {error}; get a new one from the cluster") from error
    assert config
    if wanted := settings.get("cluster"):
        clusters = {item["name"]: item["cluster"] for item in values["clusters"]}
        if wanted not in clusters:
            raise BadKubeconfig(f"{where} has no cluster {wanted}; it has {', '.join(clusters)}")
        config = config._replace(cluster=msgspec.convert(clusters[wanted], type(config.cluster)))
    if config.user is None:
        config = config._replace(user=_anonymous())
    return config


def _anonymous() -> Any:
    from lightkube.config.models import User

    return User()


def _refuse_bad_address(server: str, where: str) -> None:
    """Raise if the server's address is invalid. For some addresses the HTTP library reports only a missing answer."""
    import httpx2

    named = f"{where}: its server {server!r}"
    if "://" not in server:
        raise BadKubeconfig(f"{named} has no https:// before it: write https://{server}")
    try:
        url = httpx2.URL(server)
    except httpx2.InvalidURL as error:
        raise BadKubeconfig(f"{named} is not an address ({error}): write https://HOST:PORT") from error
    if url.scheme not in ("https", "http") or not url.host:
        raise BadKubeconfig(f"{named} is not an address of an API server: write https://HOST:PORT")


def _with_token(user: Any, where: str) -> Any:
    """Return the user with a token that is valid in an HTTP header, without white space around it.

    The check is here because the HTTP library's own error would quote the token.
    """
    import msgspec

    token = (user.token or "").strip()
    if not all("!" <= letter <= "~" for letter in token):
        raise BadKubeconfig(
            f"{where}: its token contains a space, a line break or another invalid character; get a new one"
        )
    return msgspec.structs.replace(user, token=token or None)


def _refuse_expired(config: SingleConfig, where: str, now: datetime) -> None:
    """Raise if the client certificate has expired, with its date. The server only answers `remote error: tls`."""
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
        raise BadKubeconfig(f"{where}: its client certificate cannot be read: {error}; get a new one") from error
    if certificate.not_valid_after_utc <= now:
        day = certificate.not_valid_after_utc.strftime("%Y-%m-%d %H:%M UTC")
        raise BadKubeconfig(f"{where}: its client certificate expired on {day}; get a new one from the cluster")
    if certificate.not_valid_before_utc > now:
        day = certificate.not_valid_before_utc.strftime("%Y-%m-%d %H:%M UTC")
        raise BadKubeconfig(f"{where}: its client certificate is only valid from {day}; compare the clocks")
