"""`lab`: start, stop and break the lab's machines and links."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, error_boundary, load_estate, need_root
from lab.api import Lab
from operations.machine import prepare
from workstation import paths
from workstation.errors import validated_choice
from workstation.progress import say

app = typer.Typer(
    help="The whole estate on this machine: real software on imitated machines and links.", no_args_is_help=True
)

HostName = Annotated[str, typer.Argument(metavar="HOST", help="A host, or a site for all of its hosts.")]
LinkName = Annotated[str, typer.Argument(metavar="LINK", help="A link's name from `estate show`.")]


class Switch(StrEnum):
    """Power state."""

    ON = "on"
    OFF = "off"


def open_lab() -> Lab:
    """Return the lab of the project's own estate. Refuses without root."""
    need_root("the lab")
    return Lab(load_estate(), paths.home())


@app.command()
def up(as_json: Json = False) -> None:
    """Start all machines and links that are not running yet. It runs `setup` first if this machine is not set up.

    The machines are empty: `./govcloud up` deploys the declared estate to them.
    """
    with error_boundary(
        as_json,
        interrupted="a part of the lab is running; `./govcloud lab up` starts again, `./govcloud lab down` removes it",
    ):
        lab = open_lab()
        run_log.start("lab up")
        prepare()
        lab.up(on_event=say)
        if as_json:
            print_json(lab.status().as_json())


@app.command()
def down(as_json: Json = False) -> None:
    """Remove all machines and links, in any state. Keys and drill reports are kept."""
    with error_boundary(as_json, interrupted="some of the lab is still there; run `./govcloud lab down` again"):
        lab = open_lab()
        run_log.start("lab down")
        lab.down(on_event=say)
        if as_json:
            print_json({"down": True})


@app.command()
def status(as_json: Json = False) -> None:
    """Show which machines are powered on, how much memory they use, and which links carry packets."""
    with error_boundary(as_json):
        found = open_lab().status()
        print_json(found.as_json()) if as_json else print(found.as_text())


@app.command(context_settings={"allow_interspersed_args": False})
def shell(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host's name.", show_default=False)],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="Run this command instead of a shell.")
    ] = None,
) -> None:
    """Open a shell on a host, or run one command on it: `lab shell futian-edge1 vtysh -c "show bgp summary"`."""
    with error_boundary():
        validated_choice(host, [h.name for h in load_estate().hosts], "host")
        argv = open_lab().shell_argv(host, command or [])
        os.execvp(argv[0], argv)


@app.command()
def power(
    state: Annotated[Switch, typer.Argument(metavar="on|off", help="Power on or power off.", show_default=False)],
    host: HostName,
    as_json: Json = False,
) -> None:
    """Power a host or a whole site off or on. Power off is no shutdown: data that was not synced to disk is lost."""
    with error_boundary(as_json, interrupted="`./govcloud lab status` shows which hosts are powered on"):
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
    """Drop all packets of a link in both directions until `heal`.

    The interfaces keep their carrier and connections get no reset, as with a cut in a distant fibre.
    """
    _wire("cut", link, as_json)


@app.command()
def heal(link: LinkName, as_json: Json = False) -> None:
    """Let a link that was cut carry packets again."""
    _wire("heal", link, as_json)


def _wire(act: str, link: str, as_json: bool) -> None:
    with error_boundary(as_json):
        validated_choice(link, [one.name for one in load_estate().links], "link")
        getattr(open_lab(), act)(link)
        say(f"{act}: {link}")
        if as_json:
            print_json({act: link})
