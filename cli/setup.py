"""`setup`: install and build what is missing."""

from __future__ import annotations

import time

from cli.output import Json, answers, emit


def setup(as_json: Json = False) -> None:
    """Install and build what is missing: packages, engine, etcd, the base image. A second run takes seconds."""
    from tools import setup as installer

    with answers(as_json, interrupted="what is finished is kept; run `./govcloud setup` again to go on"):
        start = time.monotonic()
        installer.run()
        if as_json:
            emit({"seconds": round(time.monotonic() - start, 1), "image": str(installer.image_root())})
