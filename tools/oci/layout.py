"""Write an OCI image layout reproducibly: sorted entries, no times, and root as the only owner."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from workstation.oci import MACHINES, MANIFEST, blob_path

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
COMPRESSION = 6


@dataclass(frozen=True, kw_only=True)
class Blob:
    """One blob file of the layout."""

    kind: str
    digest: str
    size: int

    def described(self) -> dict[str, Any]:
        """Return the descriptor that manifests use."""
        return {"mediaType": self.kind, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A compressed layer, and the digest of its uncompressed form, which the image's configuration lists."""

    blob: Blob
    diff_id: str


def architecture() -> str:
    """Return this machine's architecture by its OCI name."""
    return MACHINES.get(platform.machine(), platform.machine())


def layer(folder: Path, tree: Path, wanted: Callable[[str], bool]) -> Layer:
    """Write one layer with the paths below `tree` that `wanted` selects. Paths are relative: `usr/bin/python3`."""
    aside = folder / "layer.new"
    with aside.open("wb") as raw:
        compressed = _Hashing(raw)
        with gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=COMPRESSION, mtime=0, filename="") as zipped:
            plain = _Hashing(zipped)
            with tarfile.open(fileobj=cast(IO[bytes], plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for path in sorted(_below(tree), key=str):
                    if wanted(str(path)):
                        _add(tar, tree, path)
    blob = Blob(kind=LAYER, digest=compressed.digest(), size=aside.stat().st_size)
    aside.replace(_place(folder, blob.digest))
    return Layer(blob=blob, diff_id=plain.digest())


def finish(folder: Path, layers: list[Layer], settings: Mapping[str, Any]) -> str:
    """Write the configuration, the manifest and the index. `settings` are the image's: `User`, `Entrypoint` and others.

    Return the manifest's digest, which identifies the image.
    """
    config = _write(
        folder,
        CONFIG,
        {
            "architecture": architecture(),
            "os": "linux",
            "config": dict(settings),
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        },
    )
    manifest = _write(
        folder,
        MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.described(),
            "layers": [one.blob.described() for one in layers],
        },
    )
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [manifest.described()]}))
    return manifest.digest


def _below(tree: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(tree):
        for name in (*folders, *files):
            yield (Path(place) / name).relative_to(tree)


def _add(tar: tarfile.TarFile, tree: Path, path: Path) -> None:
    info = tar.gettarinfo(str(tree / path), str(path))
    if info.type == tarfile.LNKTYPE:  # a hard link: each name gets its own copy of the content
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", (tree / path).stat().st_size
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = 0
    if info.isreg():
        with (tree / path).open("rb") as content:
            tar.addfile(info, content)
    else:
        tar.addfile(info)


def _write(folder: Path, kind: str, value: Mapping[str, Any]) -> Blob:
    data = _json(value)
    blob = Blob(kind=kind, digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
    _place(folder, blob.digest).write_bytes(data)
    return blob


def _place(folder: Path, digest: str) -> Path:
    path = blob_path(folder, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class _Hashing:
    """A writer that forwards data and computes its hash."""

    def __init__(self, to: BinaryIO | gzip.GzipFile) -> None:
        self._to, self._sha = to, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sha.update(data)
        return self._to.write(data)

    def flush(self) -> None:
        self._to.flush()

    def digest(self) -> str:
        return f"sha256:{self._sha.hexdigest()}"
