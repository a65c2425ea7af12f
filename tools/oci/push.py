"""Bringing an image into a registry: only the blobs that it lacks, then the manifest, named by its own digest."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def push(image: Image, url: str, trust: ssl.SSLContext) -> int:
    """Push to the registry at `url`; answers how many blobs it lacked. Raises GovcloudError with what it said."""
    digest, manifest = layout.manifest_of(image.folder)
    base = f"{url}/v2/{image.name}"
    try:
        with httpx.Client(verify=trust, timeout=TIMEOUT_S, trust_env=False) as client:
            if client.head(f"{base}/manifests/{digest}", headers={"Accept": layout.MANIFEST}).status_code == 200:
                return 0
            blobs = [manifest["config"], *manifest["layers"]]
            sent = sum(_blob(client, base, image.folder, blob) for blob in blobs)
            raw = layout.blob_path(image.folder, digest).read_bytes()
            done = client.put(f"{base}/manifests/{digest}", content=raw, headers={"Content-Type": layout.MANIFEST})
            _expect(done, 201, f"the manifest of {image.name}")
    except httpx.HTTPError as error:
        raise GovcloudError(f"{url}: the image registry does not answer: {error}", "look at its host") from None
    return sent


def _blob(client: httpx.Client, base: str, folder: Path, blob: dict[str, Any]) -> bool:
    digest = str(blob["digest"])
    if client.head(f"{base}/blobs/{digest}").status_code == 200:
        return False
    begun = client.post(f"{base}/blobs/uploads/")
    _expect(begun, 202, f"the upload of {digest}")
    place = client.base_url.join(begun.headers["Location"]).copy_merge_params({"digest": digest})
    headers = {"Content-Length": str(blob["size"]), "Content-Type": "application/octet-stream"}
    with layout.blob_path(folder, digest).open("rb") as stream:
        done = client.put(place, content=_chunks(stream), headers=headers)
    _expect(done, 201, f"blob {digest}")
    return True


def _chunks(stream: Any) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece


def _expect(response: httpx.Response, status: int, what: str) -> None:
    if response.status_code != status:
        raise GovcloudError(f"the registry refused {what}: {response.status_code} {response.text[:300]}")
