"""`setup`: install and build the missing programs."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from cli.output import Json, error_boundary, print_json

if TYPE_CHECKING:
    from tools.golang import Group


def prepare(groups: Collection[Group] | None = None) -> None:
    """Set this machine up, for commands that need it. A running lab's memory counts as available."""
    from lab import lab_state
    from tools import setup as installer

    noted = lab_state.read()
    installer.run(groups=groups, before_lab=noted.available_before_mib << 20 if noted else 0)


def setup(as_json: Json = False) -> None:
    """Install and build what is missing on this machine: packages, engine, etcd, Kubernetes, the lab's base image.

    The first run takes up to 30 minutes on two cores, later runs take seconds.
    """
    from tools import setup as installer

    with error_boundary(as_json, interrupted="finished parts are kept; run `./govcloud setup` again to continue"):
        start = time.monotonic()
        prepare()
        if as_json:
            print_json({"seconds": round(time.monotonic() - start, 1), "image": str(installer.image_root())})
