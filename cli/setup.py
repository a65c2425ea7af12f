"""`setup`: install and build the missing programs."""

from __future__ import annotations

import time

from cli.output import Json, error_boundary, print_json
from operations.machine import prepare


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
