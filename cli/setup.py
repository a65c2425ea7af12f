"""`setup`: install and build the missing programs."""

from __future__ import annotations

import time

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, error_boundary
from operations import machine
from tools import setup as installer

app = typer.Typer()


@app.command()
def setup(as_json: Json = False) -> None:
    """Install and build what is missing on this machine: packages, engine, etcd, Kubernetes, the lab's base image.

    The first run takes up to 30 minutes on two cores, later runs take seconds.
    """
    with error_boundary(as_json, interrupted="finished parts are kept; run `./govcloud setup` again to continue"):
        run_log.start("setup")
        start = time.monotonic()
        machine.prepare()
        if as_json:
            print_json({"seconds": round(time.monotonic() - start, 1), "image": str(installer.image_root())})
