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

app = typer.Typer(
    help="The city government cloud as code: deploy the estate, rehearse disasters, see what citizens saw.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("setup")(setup_command.setup)
app.command("demo")(demo.demo)
app.command("test")(testing.run_tests)
app.add_typer(estate.app, name="estate")
app.add_typer(lab.app, name="lab")
for name in ("plan", "up", "drift", "destroy"):
    app.command(name)(getattr(stacks, name))
app.add_typer(state.app, name="state")
app.command("kubeconfig")(kubeconfig.kubeconfig)
app.command("status")(status_command.status)
app.add_typer(drills.app, name="drill")
for name in ("switchover", "failover", "failback"):
    app.command(name)(getattr(drills, name))
app.add_typer(upgrade.app, name="upgrade")
app.command("bench")(bench.bench)
