"""`bench`: figures that can be repeated, with their raw values kept."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import Json, error_boundary, need_root, validated_choice
from cli.setup import prepare

NAMES = ("approvals", "provider", "rollout", "unchanged")


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(NAMES)}.", show_default=False)],
    runs: Annotated[int, typer.Option("--runs", min=1, max=20, help="Append that many runs to the raw values.")] = 1,
    rate: Annotated[
        float, typer.Option("--rate", min=1, max=500, help="approvals, rollout: writes per second.")
    ] = 50.0,
    seconds: Annotated[float, typer.Option("--seconds", min=5, max=600, help="approvals: how long.")] = 120.0,
    reads: Annotated[
        bool, typer.Option("--reads", help="approvals, rollout: as many reads beside the writes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure approvals, a rollout, an unchanged `up` or the Kubernetes provider, and report over all runs so far.

    approvals: at a fixed rate; rollout: a new version to all sites under that rate, and back; unchanged: `up` where
    nothing is to do; provider: Kubernetes objects beside kubectl.

    Raw values are kept under the home directory, so an interrupted bench goes on.
    """
    with error_boundary(as_json, interrupted="finished runs are kept; the same command adds more"):
        from cli import benchmarks

        validated_choice(name, NAMES, "bench")
        if name == "provider":
            _prepare_kubernetes()
        benchmarks.run(name, runs=runs, rate=rate, seconds=seconds, reads=reads, as_json=as_json)


def _prepare_kubernetes() -> None:
    """The provider's bench has an API server of its own: its programs are built where they are missing."""
    from tools import envtest, golang

    if envtest.missing():
        need_root("bench provider")
        prepare(golang.ALWAYS | golang.kubernetes([envtest.VERSION]))
