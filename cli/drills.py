"""`drill`, `switchover`, `failover` and `failback`. Each shows its effect or plan first and acts after confirmation."""

from __future__ import annotations

import json
import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import drill_messages
from cli.output import (
    Json,
    Lang,
    Language,
    error_boundary,
    into_namespace,
    load_estate,
    need_root,
    print_json,
    validated_choice,
)
from operations.locks import block_deployment
from workstation import paths
from workstation.errors import GovcloudError, WrongUse
from workstation.progress import say

if TYPE_CHECKING:
    from estate.model import Estate
    from failover.drills import Drill, DrillResult

app = typer.Typer(help="Disaster-recovery drills with a measured result and a report.", no_args_is_help=True)

TargetName = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="The object of the fault. `drill list` shows its kind: a site, a link.",
        show_default="the first one in the estate",
    ),
]
SiteName = Annotated[
    str | None,
    typer.Option(
        "--site", metavar="SITE", help="The same as --target, for a drill that loses a site.", show_default=False
    ),
]
DrillName = Annotated[str, typer.Argument(metavar="NAME", help="A name from `drill list`.", show_default=False)]
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
GO_ON = (
    "the next `drill run` first undoes all open acts; `./govcloud lab status` shows the power of hosts and the links"
)


@app.command("list")
def list_drills(as_json: Json = False, lang: Language = Lang.EN) -> None:
    """List the available drills and the past runs, with each run's verdict and report."""
    with error_boundary(as_json):
        from failover.drills.history import runs
        from failover.drills.registry import DRILLS

        drills = [
            {
                "name": drill.name,
                "title": getattr(drill.title, lang.value),
                "summary": drill.summary.of(lang.value),
                "expected_s": drill.expected_s,
                "target": drill.target,
            }
            for drill in DRILLS
        ]
        past = runs(paths.home() / "drills", lang.value)
        if as_json:
            print_json({"drills": drills, "runs": [asdict(each) for each in past]})
            return
        print(drill_messages.drill_list(drills, past, lang.value))


@app.command()
def show(
    name: DrillName,
    target: TargetName = None,
    site: SiteName = None,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Show the blast radius of a drill and its expected effect on citizens. Changes nothing."""
    with error_boundary(as_json):
        from failover.drills import blast_radius, registry

        estate = load_estate()
        drill = registry.get(name)
        fault, summary = drill.fault(estate, _target(drill, target, site)), drill.summary.of(lang.value)
        title = getattr(drill.title, lang.value)
        if as_json:
            named = {
                "drill": drill.name,
                "title": title,
                "summary": summary,
                "site": fault.site,
                "target": fault.target,
            }
            radius = blast_radius.as_json(fault.blast_radius(estate))
            print_json({**named, "expected_s": drill.expected_s, "blast_radius": radius})
            return
        print(f"{title}\n{summary}\n\n{blast_radius.text(fault.blast_radius(estate), fault.words, lang.value)}")


@app.command()
def run(
    name: DrillName,
    target: TargetName = None,
    site: SiteName = None,
    rate: Annotated[float, typer.Option("--rate", min=1, max=500, help="Writes per second, and as many reads.")] = 20.0,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking; needed without a terminal.")] = False,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Show the blast radius, ask for confirmation, run the drill and write its report.

    Exit 0: passed. 1: failed. 5: an objective was missed. 6: refused, for example because the estate has a problem.
    7: the drill stopped early and all its changes were undone. 8: locked by a deployment or another drill.
    """
    with error_boundary(as_json, interrupted=GO_ON):
        from failover.drills import blast_radius, registry
        from failover.report import json_report

        estate = load_estate()
        drill = registry.get(name)
        target = _target(drill, target, site)
        fault = drill.fault(estate, target)
        fault.guard(estate)
        into_namespace(estate)  # on a lab this restarts the command, so ask for confirmation only after it
        if not yes:
            say(blast_radius.text(fault.blast_radius(estate), fault.words, lang.value))
            _confirm(lang)
        result = _run(name, estate, target, rate, lang)
        if as_json:
            print_json(json_report.as_json(result))
        say(_verdict(result, estate, lang))
        raise typer.Exit(result.exit_code)


def _target(drill: Drill, target: str | None, site: str | None) -> str | None:
    """Return the target of one of the two options. Raise WrongUse if they contradict each other or the drill."""
    if site is None:
        return target
    if drill.target != "site":
        raise WrongUse(f"{drill.name} loses no site", f"`./govcloud drill show {drill.name}` shows what it does")
    if target not in (None, site):
        raise WrongUse("--site and --target name different sites", "use one of them")
    return site


def _run(name: str, estate: Estate, target: str | None, rate: float, lang: Lang) -> DrillResult:
    from failover import drills
    from failover.report.messages import event_text, site_titles
    from operations import adapters

    titles = site_titles(estate, lang.value)

    with block_deployment():
        return drills.run(
            name, estate, adapters.drill_interfaces(estate), paths.home(),
            drills.DrillOptions(target=target, rate_per_s=rate, lang=lang.value),
            on_event=lambda event: say(f"  {event_text(event, lang.value, titles)}"),
        )  # fmt: skip


def _confirm(lang: Lang) -> None:
    # The question is on standard error: standard output is for the result.
    say("现在开始演练？[y/N]" if lang is Lang.ZH else "Begin the drill now? [y/N]")
    if sys.stdin is None or sys.stdin.readline().strip().lower() not in ("y", "yes", "是"):
        raise WrongUse("the drill was not confirmed; nothing was changed", "answer y, or add --yes")


def _verdict(result: DrillResult, estate: Estate, lang: Lang) -> str:
    from failover.report.messages import page_messages
    from failover.report.verdict import sentence

    words = page_messages(lang.value)
    colon = "：" if lang is Lang.ZH else ": "
    verdict = f"{words[result.verdict.value]}{colon}{sentence(result, estate, lang.value)}"
    return f"{verdict}\n{words['report_at']}{colon}{result.report}"


@app.command()
def report(
    run_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="An ID from `drill list`.", show_default="the newest run")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Print the path of a drill's report; with `--json` the report itself."""
    with error_boundary(as_json):
        folder = _folder(run_id)
        page = folder / f"report.{lang.value}.html"
        if as_json:
            print_json(_document(folder / "report.json"))
            return
        if not page.is_file():
            raise GovcloudError(f"{page} is missing", "name another report, or run the drill again")
        print(page)
        if open_it:
            webbrowser.open(page.as_uri())


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise GovcloudError(f"{file} is damaged: it is not a report", "name another report, or run the drill again")
    return document


def _folder(run_id: str | None) -> Path:
    finished = _finished()
    if not finished:
        raise GovcloudError("no drill has been finished here", "run `./govcloud drill run site-loss`")
    chosen = finished[-1] if run_id is None else validated_choice(run_id, finished, "drill report")
    return paths.home() / "drills" / chosen


def _finished() -> list[str]:
    """Return the folder names of finished drills, the oldest first."""
    drills = paths.home() / "drills"
    return sorted(p.parent.name for p in drills.glob("*/report.json")) if drills.is_dir() else []


def switchover(to: Target, apply: Apply = False, as_json: Json = False) -> None:
    """Move the database's primary to another site while the primary is alive.

    Shows the plan. With --apply it carries out the plan.
    """
    _run_operation("switchover", to, apply, as_json)


def failover(to: Target, apply: Apply = False, as_json: Json = False) -> None:
    """Promote a site's database member when no primary is alive. Refused if acknowledged records could be lost.

    Shows the plan. With --apply it carries out the plan.
    """
    _run_operation("failover", to, apply, as_json)


def failback(to: Home = None, apply: Apply = False, as_json: Json = False) -> None:
    """Move the primary back to its home site. Otherwise like `switchover`.

    Shows the plan. With --apply it carries out the plan.
    """
    _run_operation("failback", to, apply, as_json)


def _run_operation(name: str, to: str | None, apply: bool, as_json: bool) -> None:
    interrupted = "`./govcloud status` shows the primary's site; run the same command again to continue"
    with error_boundary(as_json, interrupted):
        from failover import plans
        from failover.switchover import execute
        from operations import adapters

        estate = load_estate()
        to = validated_choice(plans.home(estate) if to is None else to, [s.name for s in estate.sites], "site")
        need_root(name)
        into_namespace(estate)
        intent = plans.Intent(operation=plans.Operation(name), to=to)
        plan = plans.plan(estate, adapters.observer(estate).snapshot(), intent)
        plan.require()
        if not apply:
            _show_plan(plan, as_json)
            return
        machines, observer = adapters.machines(estate), adapters.observer(estate)
        with block_deployment():
            result = execute(plan, estate, machines, observer, paths.home(), on_event=say)
        if as_json:
            print_json(result.as_json())


def _show_plan(plan: object, as_json: bool) -> None:
    from failover.plans import Plan

    assert isinstance(plan, Plan)
    if as_json:
        print_json(plan.as_json())
        return
    if not plan.steps:
        say(f"nothing to do: {plan.intent.to} already has the primary")
    for number, step in enumerate(plan.steps, start=1):
        say(f"  {number}. {step}")
    if plan.steps:
        say("this is only the plan; add --apply to carry it out")
