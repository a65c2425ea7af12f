"""Bringing an image into a registry: only the blobs that it lacks, then the manifest, named by its own digest."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from tools.oci import layout
from tools.oci.build import Image
from workstation.errors import GovcloudError

TIMEOUT_S = 60.0
CHUNK = 1 << 20


def context(authority: str, cert: Path, key: Path) -> ssl.SSLContext:
    """TLS both ways: trust in the estate's authority (PEM), and the caller's own certificate (files)."""
    made = ssl.create_default_context(cadata=authority)
    made.load_cert_chain(cert, key)
    return made


def push(image: Image, url: str, host: str, trust: ssl.SSLContext) -> int:
    """Push to the registry at `url`, which must prove to be on `host`; answers how many blobs it lacked.

    The operator calls a management address, which certificates do not name. Raises GovcloudError with what it said.
    """
    registry = _Registry(url, host, image.name, trust)
    try:
        with registry.client:
            return _push(registry, image.folder)
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise GovcloudError(f"{url}: the image registry of {host} does not answer: {error}", "look there") from None


class _Registry:
    """One repository of a registry."""

    def __init__(self, url: str, host: str, name: str, trust: ssl.SSLContext) -> None:
        self.client = httpx.Client(base_url=url, verify=trust, timeout=TIMEOUT_S, trust_env=False)
        self.path, self._host = f"/v2/{name}", host

    def ask(self, method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
        return self.client.request(method, url, extensions={"sni_hostname": self._host}, **more)

    def must(self, status: int, what: str, method: str, url: str | httpx.URL, **more: Any) -> httpx.Response:
        answer = self.ask(method, url, **more)
        if answer.status_code != status:
            said = f"{answer.status_code} {answer.text[:300]}"
            raise GovcloudError(f"the image registry of {self._host} refused {what}: {said}")
        return answer


def _push(registry: _Registry, folder: Path) -> int:
    digest, manifest = layout.manifest_of(folder)
    place = f"{registry.path}/manifests/{digest}"
    if registry.ask("HEAD", place, headers={"Accept": layout.MANIFEST}).status_code == httpx.codes.OK:
        return 0
    sent = sum(_blob(registry, folder, blob) for blob in (manifest["config"], *manifest["layers"]))
    raw = layout.blob_path(folder, digest).read_bytes()
    registry.must(201, f"manifest {digest}", "PUT", place, content=raw, headers={"Content-Type": layout.MANIFEST})
    return sent


def _blob(registry: _Registry, folder: Path, blob: dict[str, Any]) -> bool:
    digest = str(blob["digest"])
    if registry.ask("HEAD", f"{registry.path}/blobs/{digest}").status_code == httpx.codes.OK:
        return False
    begun = registry.must(202, f"an upload of {digest}", "POST", f"{registry.path}/blobs/uploads/")
    # The registry answers with a whole address: by its own name for itself, not by the one we call.
    place = httpx.URL(begun.headers["Location"])
    target = httpx.URL(path=place.path, query=place.query).copy_merge_params({"digest": digest})
    headers = {"Content-Length": str(blob["size"]), "Content-Type": "application/octet-stream"}
    with layout.blob_path(folder, digest).open("rb") as stream:
        registry.must(201, f"blob {digest}", "PUT", target, content=_chunks(stream), headers=headers)
    return True


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece
