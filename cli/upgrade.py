"""`upgrade`: the next version of the clusters, one site at a time. Without --apply the command only shows the plan."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, error_boundary, into_namespace, load_estate, need_root
from estate import versions
from failover.upgrade import FILE, Plan
from operations import upgrade
from workstation import namespace, paths
from workstation.errors import validated_choice
from workstation.progress import say

app = typer.Typer(help="Newer versions, one site at a time with a gate between.", no_args_is_help=True)

To = Annotated[
    str, typer.Option("--to", metavar="VERSION", help=f"One of {', '.join(versions.KUBERNETES)}.", show_default=True)
]
Apply = Annotated[bool, typer.Option("--apply", help="Act. Without it only the plan is shown.")]
GO_ON = (
    "finish the site that was begun with `./govcloud up SITE`; when `./govcloud status` is all well, the same command "
    "continues"
)


@app.callback()
def group() -> None:
    """Make a group, so that a second kind of upgrade can be added without another name for the first."""


@app.command()
def kubernetes(to: To = versions.KUBERNETES[-1], apply: Apply = False, as_json: Json = False) -> None:
    """Upgrade the sites' clusters, one site at a time.

    For each site in turn: check the health gate, change the version in the estate, run `up`, check the gate again.

    Exit 1: a gate failed, or `up` failed; the sites before keep the new version. 6: refused, nothing was changed.
    """
    with error_boundary(as_json, interrupted=GO_ON):
        validated_choice(to, versions.KUBERNETES, "version")
        estate = load_estate()
        need_root("upgrade")
        run_log.start("upgrade kubernetes")
        if apply and not namespace.in_operator_namespace():
            upgrade.build(to)
        into_namespace(estate)
        plan = upgrade.plan(estate, to)
        for warning in plan.warnings:
            say(f"not waited for: {warning}")
        plan.require()
        if not apply:
            _show(plan, as_json)
            return
        done = upgrade.execute(plan, estate, home=paths.home(), on_event=say)
        if as_json:
            print_json(done.as_json())
        changed = f"commit {FILE}: it declares {to} for every site" if plan.site_upgrades else "nothing to do"
        say(f"upgrade: all clusters run {to}; {changed}")


def _show(plan: Plan, as_json: bool) -> None:
    if as_json:
        print_json(plan.as_json())
        return
    if not plan.site_upgrades:
        say(f"all clusters run {plan.target}: nothing to do")
    step_texts = (text for each in plan.site_upgrades for text in each.step_texts)
    for number, text in enumerate(step_texts, start=1):
        say(f"  {number}. {text}")
    if plan.site_upgrades:
        say("this is the plan; add --apply to act")
