"""Read an OCI image layout on disk: its image and the paths of its blobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""OCI names of processor architectures by the kernel's name (`uname -m`)."""


@dataclass(frozen=True, kw_only=True)
class OciImage:
    """A service's image as an OCI layout in `folder`. `digest` is the digest of its manifest."""

    name: str
    folder: Path
    digest: str


def manifest_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the digest and the content of the layout's only manifest."""
    digest = str(json.loads((folder / "index.json").read_bytes())["manifests"][0]["digest"])
    return digest, dict(json.loads(blob_path(folder, digest).read_bytes()))


def architecture_of(folder: Path) -> str:
    """Return the architecture of the layout's image by its OCI name."""
    config = manifest_of(folder)[1]["config"]["digest"]
    return str(json.loads(blob_path(folder, config).read_bytes())["architecture"])


def blob_path(folder: Path, digest: str) -> Path:
    """Return the path of a blob."""
    return folder / "blobs" / digest.replace(":", "/")
