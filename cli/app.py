"""The root of the command line. Each command's module is imported only when that command is used.

The table has the commands with their modules and the first lines of their help, so that `--help` and shell completion
import nothing else. A test compares the table with the modules.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli import run_log
from cli.json_output import print_json

EPILOG = (
    "Exit codes: 0 done · 1 failed, invalid estate, or lost or duplicated rows · 2 wrong use · 5 an objective was "
    "missed · 6 refused by a safety rule · 7 drill stopped and undone · 8 locked · 10 changes "
    "pending or drift · 130 interrupted\n\n"
    "Languages: `--lang zh` (or GOVCLOUD_LANG=zh) selects Chinese for `status`, `demo`, `estate`, `drill` and the "
    "reports. All other commands, all `--help` pages and all error messages are in English only."
)

HELP = (
    "The city government cloud as code: deploy the estate, run disaster-recovery drills, measure their effect on "
    "citizens.\n\n"
    "The estate is everything the city runs. On this machine a lab imitates it. Start with `./govcloud demo`, as root. "
    "These need no root: `estate`, `drill list`, `drill show`, `test unit`, `test rules` and all `--help` pages."
)
BEGIN, ESTATE, FAILURES, LAB = (
    "Getting started",
    "Daily operation of the estate",
    "Drills and failovers",
    "Lab and benchmarks",
)

AS_JSON = "govcloud.json"
WRONG_USE = 2


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name at the root: a command, or a group of commands, of a module in `cli`."""

    module: str
    panel: str
    summary: str
    """The first paragraph of its help."""
    group: bool = False
    passes_options: bool = False
    """All arguments belong to another program, also `--verbose`."""


ENTRIES = {
    "setup": Entry(
        module="setup",
        panel=BEGIN,
        summary="Install and build what is missing on this machine: packages, engine, etcd, Kubernetes, the lab's base "
        "image.",
    ),
    "demo": Entry(
        module="demo",
        panel=BEGIN,
        summary="Set up this machine, start the lab, deploy the estate, run a site-loss drill, and write its report.",
    ),
    "test": Entry(
        module="testing",
        panel=BEGIN,
        summary="Run the tests, from unit tests to the loss of each city site in the lab. The last line is pytest's "
        "own.",
    ),
    "python": Entry(
        module="environment",
        panel=BEGIN,
        passes_options=True,
        summary="Run the environment's Python with this checkout on its path, for example "
        "`python -m pytest tests/unit/estate`.",
    ),
    "status": Entry(
        module="status",
        panel=ESTATE,
        summary="Show the health of the estate: sites, links, BGP, database roles and lag, the service from each "
        "vantage.",
    ),
    "plan": Entry(
        module="stacks",
        panel=ESTATE,
        summary="Show what `up` would change, line by line. Changes nothing. Exit 10 if there are changes.",
    ),
    "up": Entry(
        module="stacks",
        panel=ESTATE,
        summary="Deploy the declared estate to every host and cluster. This also reverts changes that were made by "
        "hand.",
    ),
    "drift": Entry(
        module="stacks",
        panel=ESTATE,
        summary="Compare every host and cluster with the last deployment. Exit 10 if there is a difference.",
    ),
    "destroy": Entry(
        module="stacks",
        panel=ESTATE,
        summary="Forget a lab's hosts, so that the next `up` deploys everything again. Removes nothing from the hosts.",
    ),
    "kubeconfig": Entry(
        module="kubeconfig",
        panel=ESTATE,
        summary="Print a kubeconfig for a site's cluster, for the operator or for a bureau's staff.",
    ),
    "estate": Entry(module="estate", panel=ESTATE, group=True, summary="The declared estate: validate, print, draw."),
    "state": Entry(
        module="state", panel=ESTATE, group=True, summary="The stacks' state: list, write and restore its backups."
    ),
    "upgrade": Entry(
        module="upgrade",
        panel=ESTATE,
        group=True,
        summary="Newer versions, one site at a time with a gate between.",
    ),
    "switchover": Entry(
        module="moves",
        panel=FAILURES,
        summary="Move the database's primary to another site while the primary is alive.",
    ),
    "failover": Entry(
        module="moves",
        panel=FAILURES,
        summary="Promote a site's database member when no primary is alive. Refused if acknowledged records could be "
        "lost.",
    ),
    "failback": Entry(
        module="moves",
        panel=FAILURES,
        summary="Move the primary back to its home site. Otherwise like `switchover`.",
    ),
    "drill": Entry(
        module="drills",
        panel=FAILURES,
        group=True,
        summary="Disaster-recovery drills with a measured result and a report.",
    ),
    "bench": Entry(
        module="bench",
        panel=LAB,
        summary="Measure approvals, a rollout, an unchanged `up` or the Kubernetes provider, and summarise all runs so "
        "far.",
    ),
    "lab": Entry(
        module="lab",
        panel=LAB,
        group=True,
        summary="The whole estate on this machine: real software on imitated machines and links.",
    ),
}


class Commands(TyperGroup):
    """The group of all commands. With `--json` each prints one object, even after an unknown option.

    typer exports click's context and error classes under no public name, so `Any` stands for the context.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the root's own options, and record whether the command line contains `--json`."""
        ctx.meta[AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command of a name and import its module. Help and completion of the root use the table only."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and found else found, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises the command's own errors."""
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            if ctx.meta[AS_JSON] and error.exit_code == WRONG_USE:
                where = (getattr(error, "ctx", None) or ctx).command_path
                print_json({"error": error.format_message(), "next_step": f"see `{where} --help`", "exit_code": 2})
            raise


def _turn_on(value: bool) -> None:
    if value:
        run_log.be_verbose()


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Also print details on standard error.",
        callback=_turn_on,
        expose_value=False,
    ),
]

app = typer.Typer(
    cls=Commands,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(verbose: Verbose = False) -> None:
    """Options before the command's name."""


def _unused() -> None:
    """Stand in the table for a command whose module is not imported yet."""


for _name, _entry in ENTRIES.items():
    app.command(_name, help=_entry.summary, rich_help_panel=_entry.panel)(_unused)


def load(name: str) -> Any:
    """Import the module of a name at the root and return its command. Every command in it accepts `--verbose` too."""
    entry = ENTRIES[name]
    module = importlib.import_module(f"cli.{entry.module}")
    parent = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    parent.callback()(root)
    parent.add_typer(module.app, name=name if entry.group else None)
    group = get_command(parent)
    assert isinstance(group, TyperGroup)
    command = group.commands[name]
    if not entry.passes_options:
        verbose = next(param for param in group.params if param.name == "verbose")
        for each in (command, *getattr(command, "commands", {}).values()):
            each.params.append(verbose)
    return command
