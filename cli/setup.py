"""`setup`: install and build what is missing."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from cli.output import Json, error_boundary, print_json

if TYPE_CHECKING:
    from tools.golang import Group


def prepare(groups: Collection[Group] | None = None) -> None:
    """What commands that need a set-up machine begin with. A lab that is up does not count against the machine that
    carries it."""
    from lab import lab_state
    from tools import setup as installer

    noted = lab_state.read()
    installer.run(groups=groups, before_lab=noted.available_before_mib << 20 if noted else 0)


def setup(as_json: Json = False) -> None:
    """Install and build what is missing: packages, engine, etcd, Kubernetes, the machines' image.

    The first run takes up to 30 minutes on two cores, the next ones seconds.
    """
    from tools import setup as installer

    with error_boundary(as_json, interrupted="what is finished is kept; run `./govcloud setup` again to go on"):
        start = time.monotonic()
        prepare()
        if as_json:
            print_json({"seconds": round(time.monotonic() - start, 1), "image": str(installer.image_root())})
