"""Images of the pods, passed from the command that builds them to the programs that use them.

They are passed as plain data. A copy is kept in $GOVCLOUD_HOME/engine/images.json for plain `pulumi up`, which builds
no images.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from estate.model import Estate
from playbooks.render import gateway
from stacks.state import state_files
from workstation import atomic_write
from workstation.oci import OciImage

Plain = dict[str, str]


def needed(estate: Estate) -> tuple[str, ...]:
    """Return the names of the images that the estate's pods use."""
    gateways = (gateway.IMAGE,) if any(bureau.gateway for bureau in estate.bureaus) else ()
    return (*(service.name for service in estate.services), *gateways)


def as_plain(images: Iterable[OciImage]) -> list[Plain]:
    """Convert images to plain data, for a worker's request and for the file."""
    return [{"name": image.name, "folder": str(image.folder), "digest": image.digest} for image in images]


def from_plain(values: Iterable[Plain]) -> tuple[OciImage, ...]:
    """Convert plain data to images."""
    return tuple(OciImage(name=one["name"], folder=Path(one["folder"]), digest=one["digest"]) for one in values)


def remember(images: Sequence[OciImage]) -> None:
    """Save the images for plain `pulumi up`. Without images, the file stays unchanged."""
    if images:
        atomic_write.write(_file(), json.dumps(as_plain(images)).encode())


def remembered() -> tuple[OciImage, ...]:
    """Return the images from the last `./govcloud plan` or `up`. Empty if there was no such run."""
    try:
        return from_plain(json.loads(_file().read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _file() -> Path:
    return state_files.engine_home() / "images.json"
