"""`plan`, `up`, `drift`, `destroy`: the stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.locks import block_failover
from cli.output import Json, error_boundary, into_namespace, load_estate, need_root, print_json, validated_choice
from cli.setup import prepare as prepare_machine
from workstation.errors import ChangesPending, WrongUse
from workstation.progress import duration, say

if TYPE_CHECKING:
    from estate.model import Estate
    from workstation.oci import OciImage

Stacks = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="STACK", help="Only these: network, data, province, platform, or a site's name.", show_default="all"
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="SITE",
        help="A site that is dead: it is left out, and caught up with by the next `up` without this.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm: without it nothing is done.")]

GO_ON = "the stacks' state is kept; `./govcloud plan` shows what is left, `./govcloud up` goes on"


def prepare(names: list[str] | None, without: list[str] | None = None, *, deploys: bool = False) -> Estate:
    """The estate, from where its hosts are reached; unknown names are told before anything else.

    What `deploys` pods needs this checkout's services in the machines' image, from which the pods' images are taken:
    a new image is baked first, for which registries must be reached.
    """
    from stacks.phases import stack_names

    estate = load_estate()
    if not estate.lab:
        need_root("writing the operator's state")
    for name in names or ():
        validated_choice(name, list(stack_names(estate)), "stack")
    for site in without or ():
        validated_choice(site, [s.name for s in estate.sites], "site")
    if deploys and _wants_pods(estate, names):
        from tools.image import bake

        if not bake.ready():
            prepare_machine()
    into_namespace(estate)
    return estate


def _wants_pods(estate: Estate, stacks: list[str] | None) -> bool:
    from stacks.phases import PLATFORM, stack_names

    return PLATFORM in [name for name in stack_names(estate) if not stacks or name in stacks]


def images(estate: Estate, stacks: list[str] | None) -> tuple[OciImage, ...]:
    """What the platform's pods are started from, built unless it is there; nothing where no such stack is wanted."""
    if not _wants_pods(estate, stacks):
        return ()
    from stacks.programs.pod_images import needed
    from tools.oci import build

    return tuple(build.build(name, say) for name in needed(estate))


def plan(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Show what `up` would change, line by line. Changes nothing; exit 10 where there is something to change."""
    with error_boundary(as_json):
        estate = prepare(stacks, without, deploys=True)
        from stacks.runs import engine

        found = engine.plan(estate, stacks or (), without or (), on_event=say, images=images(estate, stacks))
        print_json(found.as_json()) if as_json else print(found.as_text())
        _tell_deferred(found.deferred, "nothing is planned there")
        if found.changes:
            raise typer.Exit(ChangesPending.exit_code)


def up(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Deploy: make every host and cluster as declared, which also repairs what was changed by hand."""
    with error_boundary(as_json, interrupted=GO_ON):
        estate = prepare(stacks, without, deploys=True)
        from stacks.runs import engine

        with block_failover():
            done = engine.up(estate, stacks or (), without or (), on_event=say, images=images(estate, stacks))
        if as_json:
            print_json(done.as_json())
        say(f"up: {done.changes} change(s) in {duration(done.seconds)}")
        _tell_deferred(done.deferred, "`up` after its return catches up")


def drift(stacks: Stacks = None, without: Without = None, as_json: Json = False) -> None:
    """Compare every host and cluster with what was applied; exit 10 where one differs."""
    with error_boundary(as_json):
        estate = prepare(stacks, without)
        from stacks.runs import engine

        found = engine.drift(estate, stacks or (), without or (), on_event=say)
        print_json(found.as_json()) if as_json else print(found.as_text())
        _tell_deferred(found.deferred, "not compared")
        if found.differences:
            raise typer.Exit(ChangesPending.exit_code)


def destroy(stacks: Stacks = None, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a lab's hosts, so that the next `up` begins anew. Removes nothing from them; refused on a real estate."""
    with error_boundary(as_json, interrupted=GO_ON):
        estate = prepare(stacks)
        from stacks.runs import engine

        engine.guard_destroy(estate)
        if not yes:
            which = ", ".join(stacks or ["all stacks"])
            raise WrongUse(f"destroy ends the management of {which}; data stays", "add --yes to confirm")
        with block_failover():
            done = engine.destroy(estate, stacks or (), on_event=say)
        if as_json:
            print_json(done.as_json())


def _tell_deferred(hosts: tuple[str, ...], what: str) -> None:
    if hosts:
        say(f"left out: {', '.join(hosts)} ({what})")
