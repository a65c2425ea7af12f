"""`bench`: repeatable measurements whose raw values are kept."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import Json, error_boundary, need_root, validated_choice
from operations.machine import prepare

NAMES = ("approvals", "provider", "rollout", "unchanged")


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(NAMES)}.", show_default=False)],
    runs: Annotated[int, typer.Option("--runs", min=1, max=20, help="Number of runs to append to the raw values.")] = 1,
    rate: Annotated[
        float, typer.Option("--rate", min=1, max=500, help="approvals, rollout: writes per second.")
    ] = 50.0,
    seconds: Annotated[float, typer.Option("--seconds", min=5, max=600, help="approvals: duration.")] = 120.0,
    reads: Annotated[bool, typer.Option("--reads", help="approvals, rollout: add as many reads as writes.")] = False,
    as_json: Json = False,
) -> None:
    """Measure approvals, a rollout, an unchanged `up` or the Kubernetes provider, and summarise all runs so far.

    approvals: send applications at a fixed rate.

    rollout: deploy another version to all sites under that rate, and roll it back.

    unchanged: run `up` without any change.

    provider: deploy many Kubernetes objects, compared with kubectl.

    Raw values are kept in the home directory. After an interrupt the same command continues.
    """
    with error_boundary(as_json, interrupted="finished runs are kept; run the same command again to add more"):
        from cli import benchmarks

        validated_choice(name, NAMES, "bench")
        if name == "provider":
            _prepare_kubernetes()
        benchmarks.run(name, runs=runs, rate=rate, seconds=seconds, reads=reads, as_json=as_json)


def _prepare_kubernetes() -> None:
    """Build the missing programs of the provider bench. It runs an API server of its own."""
    from tools import envtest, golang

    if envtest.missing():
        need_root("bench provider")
        prepare(golang.ALWAYS | golang.kubernetes([envtest.VERSION]))
