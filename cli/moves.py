"""`switchover`, `failover` and `failback`: move the database's primary. Without --apply they only show the plan."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, error_boundary, into_namespace, load_estate, need_root
from failover.plans import Operation, Plan
from operations import move
from workstation import paths
from workstation.progress import say

app = typer.Typer()

Target = Annotated[str, typer.Option("--to", metavar="SITE", help="The new site of the primary.")]
Home = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="SITE",
        help="The new site of the primary.",
        show_default="the home site: the first of database.promotable",
    ),
]
Apply = Annotated[bool, typer.Option("--apply", help="Carry out the plan. Without it the plan is only shown.")]


@app.command()
def switchover(to: Target, apply: Apply = False, as_json: Json = False) -> None:
    """Move the database's primary to another site while the primary is alive.

    Shows the plan. With --apply it carries out the plan.
    """
    _run(Operation.SWITCHOVER, to, apply, as_json)


@app.command()
def failover(to: Target, apply: Apply = False, as_json: Json = False) -> None:
    """Promote a site's database member when no primary is alive. Refused if acknowledged records could be lost.

    Shows the plan. With --apply it carries out the plan.
    """
    _run(Operation.FAILOVER, to, apply, as_json)


@app.command()
def failback(to: Home = None, apply: Apply = False, as_json: Json = False) -> None:
    """Move the primary back to its home site. Otherwise like `switchover`.

    Shows the plan. With --apply it carries out the plan.
    """
    _run(Operation.FAILBACK, to, apply, as_json)


def _run(operation: Operation, to: str | None, apply: bool, as_json: bool) -> None:
    interrupted = "`./govcloud status` shows the primary's site; run the same command again to continue"
    with error_boundary(as_json, interrupted):
        estate = load_estate()
        to = move.target(estate, to)
        need_root(operation.value)
        into_namespace(estate)
        run_log.start(operation.value)
        plan = move.plan(estate, operation, to)
        if not apply:
            _show_plan(plan, as_json)
            return
        result = move.execute(plan, estate, home=paths.home(), on_event=say)
        if as_json:
            print_json(result.as_json())


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        print_json(plan.as_json())
        return
    if not plan.steps:
        say(f"nothing to do: {plan.intent.to} already has the primary")
    for number, step in enumerate(plan.steps, start=1):
        say(f"  {number}. {step}")
    if plan.steps:
        say("this is only the plan; add --apply to carry it out")
