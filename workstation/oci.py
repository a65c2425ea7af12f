"""An OCI image layout on disk, as it is read: which image lies there, and where its parts are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""A kernel's word for a processor's architecture (`uname -m`), and that of OCI."""


@dataclass(frozen=True, kw_only=True)
class OciImage:
    """A service's image as an OCI layout in `folder`; `digest` is that of its manifest."""

    name: str
    folder: Path
    digest: str


def manifest_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """The digest and the content of the layout's one manifest."""
    digest = str(json.loads((folder / "index.json").read_bytes())["manifests"][0]["digest"])
    return digest, dict(json.loads(blob_path(folder, digest).read_bytes()))


def architecture_of(folder: Path) -> str:
    """For which processors the layout's image is, in the words of OCI."""
    config = manifest_of(folder)[1]["config"]["digest"]
    return str(json.loads(blob_path(folder, config).read_bytes())["architecture"])


def blob_path(folder: Path, digest: str) -> Path:
    """Where the blob lies."""
    return folder / "blobs" / digest.replace(":", "/")
