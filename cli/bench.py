"""`bench`: repeatable measurements whose raw values are kept."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, error_boundary, into_namespace, load_estate, need_root
from failover.vantage import LoadProfile
from operations.benchmarks import runs as benchmarks
from operations.benchmarks.runs import NAMES
from operations.machine import prepare
from tools import envtest, golang
from workstation import paths
from workstation.errors import validated_choice
from workstation.progress import say

app = typer.Typer()


@app.command()
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
        validated_choice(name, NAMES, "bench")
        estate = load_estate()
        if name == "provider":
            _prepare_kubernetes()
        else:
            into_namespace(estate)
        run_log.start(f"bench {name}")
        load = LoadProfile(rate_per_s=rate, reads=reads, limit_s=seconds)
        result = benchmarks.run(name, estate, runs=runs, load=load, home=paths.home(), on_event=say)
        print_json(result) if as_json else _show(result)


def _prepare_kubernetes() -> None:
    """Build the missing programs of the provider bench. It runs an API server of its own."""
    if envtest.missing():
        need_root("bench provider")
        prepare(golang.ALWAYS | golang.kubernetes([envtest.VERSION]))


def _show(result: dict[str, Any]) -> None:
    for figure, seen in result["ours"].items():
        print(f"{figure:24} min {seen['min']:g}  median {seen['median']:g}  max {seen['max']:g}")
    for failed in result["failures"]:
        print("failed at first: " + ", ".join(f"{key} {value}" for key, value in failed.items()))
    print(f"{result['conditions']['runs']} run(s); raw values: {result['conditions']['raw']}")
