"""`lab`: machines and wires."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Json, error_boundary, load_estate, need_root, print_json, validated_choice
from cli.setup import prepare
from workstation.progress import say

if TYPE_CHECKING:
    from lab.api import Lab

app = typer.Typer(
    help="The whole estate on this machine: real software, imitated machines and wires.", no_args_is_help=True
)

HostName = Annotated[str, typer.Argument(metavar="HOST", help="A host's name, or a site's for all of its hosts.")]
LinkName = Annotated[str, typer.Argument(metavar="LINK", help="A link's name, as `estate show` lists them.")]


class Switch(StrEnum):
    """Mains."""

    ON = "on"
    OFF = "off"


def open_lab() -> Lab:
    """The lab of the project's own estate."""
    from lab.api import Lab
    from workstation import paths

    need_root("the lab")
    return Lab(load_estate(), paths.home())


@app.command()
def up(as_json: Json = False) -> None:
    """Start all machines and wires, or whatever of them is missing; sets this machine up first where that is missing.

    The machines are bare: `./govcloud up` makes them what the estate declares.
    """
    with error_boundary(
        as_json, interrupted="what had started is still there; `lab up` starts anew, `lab down` removes it"
    ):
        lab = open_lab()
        prepare()
        lab.up(on_event=say)
        if as_json:
            print_json(lab.status().as_json())


@app.command()
def down(as_json: Json = False) -> None:
    """Remove all machines and wires, whatever state they are in. Keys and drill reports stay."""
    with error_boundary(as_json, interrupted="some of the lab is still there; run `./govcloud lab down` again"):
        open_lab().down(on_event=say)
        if as_json:
            print_json({"down": True})


@app.command()
def status(as_json: Json = False) -> None:
    """Which machines have power, which links carry, and what memory they take."""
    with error_boundary(as_json):
        found = open_lab().status()
        print_json(found.as_json()) if as_json else print(found.as_text())


@app.command(context_settings={"allow_interspersed_args": False})
def shell(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host's name.", show_default=False)],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="Run this there instead of a shell.")
    ] = None,
) -> None:
    """Open a shell on a host, or run one command there: `lab shell futian-edge1 vtysh -c "show bgp summary"`."""
    with error_boundary():
        validated_choice(host, [h.name for h in load_estate().hosts], "host")
        argv = open_lab().shell_argv(host, command or [])
        os.execvp(argv[0], argv)


@app.command()
def power(
    state: Annotated[Switch, typer.Argument(metavar="on|off", help="Give it back, or cut it.", show_default=False)],
    host: HostName,
    as_json: Json = False,
) -> None:
    """Cut a host's power, or give it back: no shutdown, what was not synced is lost."""
    with error_boundary(as_json, interrupted="`./govcloud lab status` shows which hosts have power"):
        estate = load_estate()
        places = {site.name: [h.name for h in estate.hosts_at(site.name)] for site in estate.sites}
        validated_choice(host, [*(h.name for h in estate.hosts), *places], "host or site")
        lab = open_lab()
        names = places.get(host, [host])
        lab.power_on(names) if state is Switch.ON else lab.power_off(names)
        say(f"power {state}: {', '.join(names)}")
        if as_json:
            print_json({"power": state, "hosts": names})


@app.command()
def cut(link: LinkName, as_json: Json = False) -> None:
    """Silence a link in both directions until `heal`: no carrier loss, no reset, as when a far fibre is cut."""
    _wire("cut", link, as_json)


@app.command()
def heal(link: LinkName, as_json: Json = False) -> None:
    """Let a silenced link carry again."""
    _wire("heal", link, as_json)


def _wire(act: str, link: str, as_json: bool) -> None:
    with error_boundary(as_json):
        validated_choice(link, [one.name for one in load_estate().links], "link")
        getattr(open_lab(), act)(link)
        say(f"{act}: {link}")
        if as_json:
            print_json({act: link})
