"""`plan`, `up`, `drift` and `destroy`: deploy the stacks and compare them with reality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Json, error_boundary, into_namespace, load_estate, need_root, print_json, validated_choice
from operations.deploy import images, wants_pods
from operations.locks import block_failover
from operations.machine import prepare as prepare_machine
from workstation.errors import ChangesPending, WrongUse
from workstation.progress import duration, say

if TYPE_CHECKING:
    from estate.model import Estate

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


def prepare(names: list[str] | None, without: list[str] | None = None, *, deploys: bool = False) -> Estate:
    """Return the estate, and enter the namespace from which its hosts are reachable. Check all names before.

    With `deploys` and pods to deploy, the base image must contain this checkout's services, because the pods' images
    are made from it. An outdated base image is baked first. This needs the network, which a lab's namespace has not.
    """
    from stacks.phases import stack_names

    estate = load_estate()
    if not estate.lab:
        need_root("writing the operator's state")
    for name in names or ():
        validated_choice(name, list(stack_names(estate)), "stack")
    for site in without or ():
        validated_choice(site, [s.name for s in estate.sites], "site")
    if deploys and wants_pods(estate, names):
        from tools.image import bake

        if not bake.ready():
            prepare_machine()
    into_namespace(estate)
    return estate


def plan(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Show what `up` would change, line by line. Changes nothing. Exit 10 if there are changes."""
    with error_boundary(as_json):
        estate = prepare(stacks, without, deploys=True)
        from stacks.runs import engine

        found = engine.plan(estate, stacks or (), without or (), on_event=say, images=images(estate, stacks))
        print_json(found.as_json()) if as_json else print(found.as_text())
        _report_deferred(found.deferred, "no changes planned there")
        if found.changes:
            raise typer.Exit(ChangesPending.exit_code)


def up(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Deploy the declared estate to every host and cluster. This also reverts changes that were made by hand."""
    with error_boundary(as_json, interrupted=GO_ON):
        estate = prepare(stacks, without, deploys=True)
        from stacks.runs import engine

        with block_failover():
            done = engine.up(estate, stacks or (), without or (), on_event=say, images=images(estate, stacks))
        if as_json:
            print_json(done.as_json())
        say(f"up: {done.changes} change(s) in {duration(done.seconds)}")
        _report_deferred(done.deferred, "run `up` again after its return")


def drift(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Compare every host and cluster with the last deployment. Exit 10 if there is a difference."""
    with error_boundary(as_json):
        estate = prepare(stacks, without)
        from stacks.runs import engine

        found = engine.drift(estate, stacks or (), without or (), on_event=say)
        print_json(found.as_json()) if as_json else print(found.as_text())
        _report_deferred(found.deferred, "not compared")
        if found.differences:
            raise typer.Exit(ChangesPending.exit_code)


def destroy(stacks: Stacks = None, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a lab's hosts, so that the next `up` deploys everything again. Removes nothing from the hosts.

    Refused on a real estate.
    """
    with error_boundary(as_json, interrupted=GO_ON):
        estate = prepare(stacks)
        from stacks.runs import engine

        engine.guard_destroy(estate)
        if not yes:
            which = ", ".join(stacks or ["all stacks"])
            raise WrongUse(f"destroy ends the management of {which}; data is kept", "add --yes to confirm")
        with block_failover():
            done = engine.destroy(estate, stacks or (), on_event=say)
        if as_json:
            print_json(done.as_json())


def _report_deferred(hosts: tuple[str, ...], note: str) -> None:
    if hosts:
        say(f"excluded: {', '.join(hosts)} ({note})")
