"""An OCI image layout on disk, as it is read: which image lies there, and where its parts are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, kw_only=True)
class Image:
    """A service's image as an OCI layout in `folder`; `digest` is that of its manifest."""

    name: str
    folder: Path
    digest: str


def manifest_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """The digest and the content of the layout's one manifest."""
    digest = str(json.loads((folder / "index.json").read_bytes())["manifests"][0]["digest"])
    return digest, dict(json.loads(blob_path(folder, digest).read_bytes()))


def blob_path(folder: Path, digest: str) -> Path:
    """Where the blob lies."""
    return folder / "blobs" / digest.replace(":", "/")
