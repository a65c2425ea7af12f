"""The command line as a whole. Each group of commands is a file of its own."""

from __future__ import annotations

import typer

from cli import bench, demo, drills, estate, kubeconfig, lab, stacks, state, testing, upgrade
from cli import setup as setup_command
from cli import status as status_command

EPILOG = (
    "Exit codes: 0 done · 1 failed, a bad estate, a lost or duplicated row · 2 wrong use · 5 an objective was missed · "
    "6 refused by a safety rule · 7 rolled back · 8 locked · 10 changes pending or drift · 130 interrupted"
)

HELP = (
    "The city government cloud as code: deploy the estate, rehearse disasters, see what citizens saw.\n\n"
    "The estate is everything the city runs; on this machine a lab stands for it. Begin with `./govcloud demo`, as "
    "root. No root is needed for `estate`, `drill list`, `drill show`, `test unit`, `test rules` and every `--help`."
)
BEGIN, ESTATE, FAILURES, LAB = (
    "Begin",
    "The estate, every day",
    "Failures, rehearsed and real",
    "The lab and measurements",
)

app = typer.Typer(
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("setup", rich_help_panel=BEGIN)(setup_command.setup)
app.command("demo", rich_help_panel=BEGIN)(demo.demo)
app.command("test", rich_help_panel=BEGIN)(testing.run_tests)
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
