"""Another version of an image that does the same: for trying a roll-out, where nothing but the version may change."""

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
    """The image with a label in its configuration, in `folder`: another digest and the same layers, like a build of the
    same content with another setting. Layers are shared with the original where the file system allows it.
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
