"""The root of the command line. Each group of commands has a file of its own."""

from __future__ import annotations

from typing import Any

import typer
from typer._click.core import Context  # typer contains click and exports these under no other name
from typer._click.exceptions import UsageError
from typer.core import TyperGroup

from cli import bench, demo, drills, environment, estate, kubeconfig, lab, stacks, state, testing, upgrade
from cli import setup as setup_command
from cli import status as status_command
from cli.output import print_json

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


class Commands(TyperGroup):
    """The group of all commands. With `--json` each prints one object, even after an unknown option."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the root's own options, and record whether the command line contains `--json`."""
        ctx.meta[AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> Any:
        """Run the command. Raises the command's own errors."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if ctx.meta[AS_JSON]:
                where = error.ctx.command_path if error.ctx else ctx.command_path
                print_json({"error": error.format_message(), "next_step": f"see `{where} --help`", "exit_code": 2})
            raise


app = typer.Typer(
    cls=Commands,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("setup", rich_help_panel=BEGIN)(setup_command.setup)
app.command("demo", rich_help_panel=BEGIN)(demo.demo)
app.command("test", rich_help_panel=BEGIN)(testing.run_tests)
app.command("python", rich_help_panel=BEGIN, context_settings=environment.PASS_ON)(environment.run_python)
app.command("status", rich_help_panel=ESTATE)(status_command.status)
for name in ("plan", "up", "drift", "destroy"):
    app.command(name, rich_help_panel=ESTATE)(getattr(stacks, name))
app.command("kubeconfig", rich_help_panel=ESTATE)(kubeconfig.kubeconfig)
app.add_typer(estate.app, name="estate", rich_help_panel=ESTATE)
app.add_typer(state.app, name="state", rich_help_panel=ESTATE)
app.add_typer(upgrade.app, name="upgrade", rich_help_panel=ESTATE)
for name in ("switchover", "failover", "failback"):
    app.command(name, rich_help_panel=FAILURES)(getattr(drills, name))
app.add_typer(drills.app, name="drill", rich_help_panel=FAILURES)
app.command("bench", rich_help_panel=LAB)(bench.bench)
app.add_typer(lab.app, name="lab", rich_help_panel=LAB)
