"""The images that pods are started from, between the command that builds them and the programs that use them.

They are handed on as plain data, and kept in $GOVCLOUD_HOME/engine/images.json for plain `pulumi up`: it builds none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from estate.model import Estate
from playbooks.render import gateway
from stacks.state import state_files
from workstation.oci import OciImage

Plain = dict[str, str]


def needed(estate: Estate) -> tuple[str, ...]:
    """Names of the images that the estate's pods are started from."""
    gateways = (gateway.IMAGE,) if any(bureau.gateway for bureau in estate.bureaus) else ()
    return (*(service.name for service in estate.services), *gateways)


def as_plain(images: Iterable[OciImage]) -> list[Plain]:
    """For a request, and for the file."""
    return [{"name": image.name, "folder": str(image.folder), "digest": image.digest} for image in images]


def from_plain(values: Iterable[Plain]) -> tuple[OciImage, ...]:
    """The inverse."""
    return tuple(OciImage(name=one["name"], folder=Path(one["folder"]), digest=one["digest"]) for one in values)


def remember(images: Sequence[OciImage]) -> None:
    """Keep them for plain `pulumi up`; nothing is kept where none were built."""
    if images:
        state_files.write_atomically(_file(), json.dumps(as_plain(images)).encode())


def remembered() -> tuple[OciImage, ...]:
    """Those that the last `./govcloud plan` or `up` has built; none where there was no such run."""
    try:
        return from_plain(json.loads(_file().read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _file() -> Path:
    return state_files.engine_home() / "images.json"
