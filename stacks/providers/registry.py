"""A site's image registry: check for an image, and push one by sending its missing blobs.

The manifest is sent last and is named by its own digest, so an image is either complete or absent.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import httpx

from workstation.errors import GovcloudError
from workstation.oci import MANIFEST, OciImage, blob_path, manifest_of

TIMEOUT_S = 60.0
CHUNK = 1 << 20

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Address of a registry and the caller's credentials. Authority, certificate and key are PEM.

    The registry's certificate must name `host`. The URL contains a management address, which no certificate names.
    """

    url: str
    host: str
    authority: str
    cert: str
    key: str = field(repr=False)


def push(registry: Registry, image: OciImage) -> int:
    """Push the image; return the number of blobs that were missing. Raises GovcloudError with the registry's text."""
    return _with(registry, image.name, lambda repository: _push(repository, image.folder))


def holds(registry: Registry, name: str, digest: str) -> bool:
    """Return whether the registry has the manifest of that digest. Raises GovcloudError if it does not answer."""
    return _with(registry, name, lambda repository: repository.holds(digest))


def _with(registry: Registry, name: str, act: Callable[[_Repository], Answer]) -> Answer:
    try:
        with _Repository(registry, name) as repository:
            return act(repository)
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise GovcloudError(
            f"the image registry of {registry.host} at {registry.url} does not answer: {error}",
            f"see `systemctl status docker-registry` on {registry.host}, then run the same command again",
        ) from None


class _Repository:
    """An HTTP client for one repository of a registry."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._client = httpx.Client(base_url=registry.url, verify=_trust(registry), timeout=TIMEOUT_S, trust_env=False)
        self.path, self._host = f"/v2/{name}", registry.host

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def request(self, method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
        return self._client.request(method, url, extensions={"sni_hostname": self._host}, **more)

    def require(self, status: int, what: str, method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
        answer = self.request(method, url, **more)
        if answer.status_code != status:
            said = f"{answer.status_code} {answer.text[:300]}"
            raise self._error(f"refused {what}: {said}")
        return answer

    def holds(self, digest: str) -> bool:
        answer = self.request("HEAD", f"{self.path}/manifests/{digest}", headers={"Accept": MANIFEST})
        if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            raise self._error(f"answers {answer.status_code} for {digest}")
        return answer.status_code == httpx.codes.OK

    def _error(self, problem: str) -> GovcloudError:
        next_step = f"see `journalctl -u docker-registry` on {self._host}, then run the same command again"
        return GovcloudError(f"the image registry of {self._host} {problem}", next_step)


def _trust(registry: Registry) -> ssl.SSLContext:
    """Return a TLS context with our certificate. The library reads the key from a memory file, never from a disk."""
    context = ssl.create_default_context(cadata=registry.authority)
    unnamed = os.memfd_create("identity")
    try:
        os.write(unnamed, f"{registry.cert}\n{registry.key}".encode())
        context.load_cert_chain(f"/proc/self/fd/{unnamed}")
    finally:
        os.close(unnamed)
    return context


def _push(repository: _Repository, folder: Path) -> int:
    digest, manifest = manifest_of(folder)
    blobs = () if repository.holds(digest) else (manifest["config"], *manifest["layers"])
    sent = sum(_blob(repository, folder, blob) for blob in blobs)
    # Push an existing manifest again: the clean-up keeps recently pushed images, whose pods may not be declared yet.
    raw, place = blob_path(folder, digest).read_bytes(), f"{repository.path}/manifests/{digest}"
    repository.require(201, f"manifest {digest}", "PUT", place, content=raw, headers={"Content-Type": MANIFEST})
    return sent


def _blob(repository: _Repository, folder: Path, blob: dict[str, Any]) -> bool:
    digest = str(blob["digest"])
    if repository.request("HEAD", f"{repository.path}/blobs/{digest}").status_code == httpx.codes.OK:
        return False
    begun = repository.require(202, f"an upload of {digest}", "POST", f"{repository.path}/blobs/uploads/")
    # The registry returns a complete URL with its own host name. We keep only the path and the query.
    place = httpx.URL(begun.headers["Location"])
    target = httpx.URL(path=place.path, query=place.query).copy_merge_params({"digest": digest})
    headers = {"Content-Length": str(blob["size"]), "Content-Type": "application/octet-stream"}
    with blob_path(folder, digest).open("rb") as stream:
        repository.require(201, f"blob {digest}", "PUT", target, content=_chunks(stream), headers=headers)
    return True


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece
