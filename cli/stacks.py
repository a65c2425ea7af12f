"""`plan`, `up`, `drift` and `destroy`: deploy the stacks and compare them with reality."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, error_boundary, into_namespace, load_estate, need_root
from estate.model import Estate
from operations import deploy
from workstation.errors import ChangesPending, WrongUse
from workstation.progress import duration, say

app = typer.Typer()

Stacks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STACK",
        help="Only these stacks: network, data, province, platform, or a site's name.",
        show_default="all",
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="SITE",
        help="Exclude an unreachable site. The next `up` without this option deploys it.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm. Without it nothing is done.")]

GO_ON = "the stacks' state is kept; `./govcloud plan` shows the remaining changes, `./govcloud up` continues"


def enter(command: str = "", stacks: list[str] | None = None, without: list[str] | None = None) -> Estate:
    """Check all names and return the estate, in the namespace from which its hosts are reachable.

    `command` starts the run log of a command that changes something or compares all hosts. `plan` and `up` need an
    up-to-date base image. It is baked before the namespace is entered.
    """
    estate = load_estate()
    if not estate.lab:
        need_root("writing the operator's state")
    deploy.check_names(estate, stacks or (), without or ())
    if command:
        run_log.start(command)
    if command in ("plan", "up"):
        deploy.prepare_image(estate, stacks or ())
    into_namespace(estate)
    return estate


@app.command()
def plan(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Show what `up` would change, line by line. Changes nothing. Exit 10 if there are changes."""
    with error_boundary(as_json):
        estate = enter("plan", stacks, without)
        found = deploy.plan(estate, stacks or (), without or (), on_event=say)
        print_json(found.as_json()) if as_json else print(found.as_text())
        _report_deferred(found.deferred, "no changes planned there")
        if found.changes:
            raise typer.Exit(ChangesPending.exit_code)


@app.command()
def up(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Deploy the declared estate to every host and cluster. This also reverts changes that were made by hand."""
    with error_boundary(as_json, interrupted=GO_ON):
        estate = enter("up", stacks, without)
        done = deploy.up(estate, stacks or (), without or (), on_event=say)
        if as_json:
            print_json(done.as_json())
        say(f"up: {done.changes} change(s) in {duration(done.seconds)}")
        _report_deferred(done.deferred, "run `up` again after its return")


@app.command()
def drift(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Compare every host and cluster with the last deployment. Exit 10 if there is a difference."""
    with error_boundary(as_json):
        estate = enter("drift", stacks, without)
        found = deploy.drift(estate, stacks or (), without or (), on_event=say)
        print_json(found.as_json()) if as_json else print(found.as_text())
        _report_deferred(found.deferred, "not compared")
        if found.differences:
            raise typer.Exit(ChangesPending.exit_code)


@app.command()
def destroy(stacks: Stacks = None, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a lab's hosts, so that the next `up` deploys everything again. Removes nothing from the hosts.

    Refused on a real estate.
    """
    with error_boundary(as_json, interrupted=GO_ON):
        estate = enter("destroy", stacks)
        deploy.guard_destroy(estate)
        if not yes:
            which = ", ".join(stacks or ["all stacks"])
            raise WrongUse(f"destroy ends the management of {which}; data is kept", "add --yes to confirm")
        done = deploy.destroy(estate, stacks or (), on_event=say)
        if as_json:
            print_json(done.as_json())


def _report_deferred(hosts: tuple[str, ...], note: str) -> None:
    if hosts:
        say(f"excluded: {', '.join(hosts)} ({note})")
