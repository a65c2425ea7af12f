"""Create another version of an image with the same content, to test a rollout in which only the version changes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tools.oci import layout
from tools.oci.layout import Blob, Layer
from workstation.oci import OciImage, blob_path, manifest_of

LABEL = "govcloud.stamp"


def relabelled(image: OciImage, folder: Path, value: str) -> OciImage:
    """Return the image in `folder` with a label in its configuration: another digest and the same layers.

    The result is like a build of the same content with another setting. Layers are hard links if possible.
    """
    _, manifest = manifest_of(image.folder)
    config = json.loads(blob_path(image.folder, manifest["config"]["digest"]).read_bytes())
    folder.mkdir(parents=True)
    layers = []
    for described, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        blob = Blob(kind=described["mediaType"], digest=described["digest"], size=described["size"])
        _share(blob_path(image.folder, blob.digest), blob_path(folder, blob.digest))
        layers.append(Layer(blob=blob, diff_id=diff_id))
    settings = {**config["config"], "Labels": {**config["config"].get("Labels", {}), LABEL: value}}
    return OciImage(name=image.name, folder=folder, digest=layout.finish(folder, layers, settings))


def _share(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
