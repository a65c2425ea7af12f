"""Images in a site's registry: which it holds, and bringing one there by the blobs that it lacks.

The manifest goes last and is named by its own digest, so an image is there whole or not at all.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx

from workstation.errors import GovcloudError
from workstation.oci import MANIFEST, OciImage, blob_path, manifest_of

TIMEOUT_S = 60.0
CHUNK = 1 << 20

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Where a registry is, and how the caller shows who it is. Authority, certificate and key are PEM.

    It must prove to be on `host`: the operator calls a management address, which certificates do not name.
    """

    url: str
    host: str
    authority: str
    cert: str
    key: str = field(repr=False)


def push(registry: Registry, image: OciImage) -> int:
    """Bring the image there; answers how many blobs it lacked. Raises GovcloudError with what the registry said."""
    return _with(registry, image.name, lambda repository: _push(repository, image.folder))


def holds(registry: Registry, name: str, digest: str) -> bool:
    """Whether it has the manifest of that digest. Raises GovcloudError where it does not answer."""
    return _with(registry, name, lambda repository: repository.holds(digest))


def _with(registry: Registry, name: str, act: Callable[[_Repository], Answer]) -> Answer:
    try:
        with _Repository(registry, name) as repository:
            return act(repository)
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise GovcloudError(
            f"the image registry of {registry.host} at {registry.url} does not answer: {error}",
            f"look at `systemctl status docker-registry` on {registry.host}, then run the same command again",
        ) from None


class _Repository:
    """One repository of a registry."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._client = httpx.Client(base_url=registry.url, verify=_trust(registry), timeout=TIMEOUT_S, trust_env=False)
        self.path, self._host = f"/v2/{name}", registry.host

    def __enter__(self) -> _Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
        return self._client.request(method, url, extensions={"sni_hostname": self._host}, **more)

    def must(self, status: int, what: str, method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
        answer = self.ask(method, url, **more)
        if answer.status_code != status:
            said = f"{answer.status_code} {answer.text[:300]}"
            raise self._fault(f"refused {what}: {said}")
        return answer

    def holds(self, digest: str) -> bool:
        answer = self.ask("HEAD", f"{self.path}/manifests/{digest}", headers={"Accept": MANIFEST})
        if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            raise self._fault(f"answers {answer.status_code} for {digest}")
        return answer.status_code == httpx.codes.OK

    def _fault(self, what: str) -> GovcloudError:
        look = f"see `journalctl -u docker-registry` on {self._host}, then run the same command again"
        return GovcloudError(f"the image registry of {self._host} {what}", look)


def _trust(registry: Registry) -> ssl.SSLContext:
    """TLS both ways. The key is never on a disk: the library reads it from a file that has no name."""
    made = ssl.create_default_context(cadata=registry.authority)
    unnamed = os.memfd_create("identity")
    try:
        os.write(unnamed, f"{registry.cert}\n{registry.key}".encode())
        made.load_cert_chain(f"/proc/self/fd/{unnamed}")
    finally:
        os.close(unnamed)
    return made


def _push(repository: _Repository, folder: Path) -> int:
    digest, manifest = manifest_of(folder)
    blobs = () if repository.holds(digest) else (manifest["config"], *manifest["layers"])
    sent = sum(_blob(repository, folder, blob) for blob in blobs)
    # Also one that is there: the clean-up keeps what was pushed lately, because its pods may not be declared yet.
    raw, place = blob_path(folder, digest).read_bytes(), f"{repository.path}/manifests/{digest}"
    repository.must(201, f"manifest {digest}", "PUT", place, content=raw, headers={"Content-Type": MANIFEST})
    return sent


def _blob(repository: _Repository, folder: Path, blob: dict[str, Any]) -> bool:
    digest = str(blob["digest"])
    if repository.ask("HEAD", f"{repository.path}/blobs/{digest}").status_code == httpx.codes.OK:
        return False
    begun = repository.must(202, f"an upload of {digest}", "POST", f"{repository.path}/blobs/uploads/")
    # The registry answers with a whole address: by its own name for itself, not by the one we call.
    place = httpx.URL(begun.headers["Location"])
    target = httpx.URL(path=place.path, query=place.query).copy_merge_params({"digest": digest})
    headers = {"Content-Length": str(blob["size"]), "Content-Type": "application/octet-stream"}
    with blob_path(folder, digest).open("rb") as stream:
        repository.must(201, f"blob {digest}", "PUT", target, content=_chunks(stream), headers=headers)
    return True


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece
