"""`upgrade`: the next version of the clusters, one site at a time. Without --apply the command only shows the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Json, error_boundary, into_namespace, load_estate, need_root, print_json, validated_choice
from estate import versions
from operations.deploy import images
from operations.machine import prepare
from workstation import namespace, paths
from workstation.progress import say

if TYPE_CHECKING:
    from estate.model import Estate
    from failover.upgrade import Plan
    from monitors.collectors import Observation

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
        from failover import upgrade

        validated_choice(to, versions.KUBERNETES, "version")
        estate = load_estate()
        need_root("upgrade")
        if apply:
            _build(to)
        into_namespace(estate)
        observe = _observer(estate)
        plan = upgrade.plan(estate, observe(), to)
        for warning in plan.warnings:
            say(f"not waited for: {warning}")
        plan.require()
        if not apply:
            _show(plan, as_json)
            return
        done = upgrade.execute(plan, estate, observe, _deploy_site, paths.home(), on_event=say)
        _update_bureau_policies()
        if as_json:
            print_json(done.as_json())
        changed = f"commit {upgrade.FILE}: it declares {to} for every site" if plan.site_upgrades else "nothing to do"
        say(f"upgrade: all clusters run {to}; {changed}")


def _build(version: str) -> None:
    """Build this version first, before any change.

    It is built outside the namespace, because programs in the namespace cannot download modules.
    """
    if namespace.in_operator_namespace():
        return
    from tools import golang, setup

    prepare(setup.declared() | golang.kubernetes([version]))


def _observer(estate: Estate) -> Callable[[], Observation]:
    from operations import adapters

    return adapters.observer(estate, tenants=True).snapshot


def _deploy_site(site: str, version: str) -> None:
    """Edit the declaration first, so that any later `up` finishes the site after a failure."""
    from estate.edit import set_cluster_version
    from stacks.runs import engine

    set_cluster_version(site, version)
    engine.up(load_estate(), [site], on_event=say)


def _update_bureau_policies() -> None:
    """Update the bureaus' namespaces to the security policy of the version.

    This runs even if no site was left to upgrade: the run that upgraded the last site may have been interrupted here.
    """
    from stacks.phases import PLATFORM
    from stacks.runs import engine

    estate = load_estate()
    engine.up(estate, [PLATFORM], on_event=say, images=images(estate, [PLATFORM]))


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
