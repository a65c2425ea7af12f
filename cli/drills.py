"""`drill`: disaster-recovery drills. A drill shows its blast radius first and begins after confirmation."""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import asdict
from typing import Annotated

import typer

from cli import drill_messages, run_log
from cli.json_output import print_json
from cli.output import Json, Lang, Language, error_boundary, into_namespace, load_estate
from estate.model import Estate
from failover.drills import RATE_PER_S, Drill, DrillOptions, DrillResult, Event, blast_radius, registry
from failover.drills.history import runs
from failover.drills.registry import DRILLS
from failover.report import json_report
from failover.report.messages import event_text, page_messages, site_titles
from failover.report.verdict import sentence
from operations import drill as operation
from workstation import paths
from workstation.errors import WrongUse
from workstation.progress import say

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
Rate = Annotated[float, typer.Option("--rate", min=1, max=500, help="Writes per second, and as many reads.")]
SiteName = Annotated[
    str | None,
    typer.Option(
        "--site", metavar="SITE", help="The same as --target, for a drill that loses a site.", show_default=False
    ),
]
DrillName = Annotated[str, typer.Argument(metavar="NAME", help="A name from `drill list`.", show_default=False)]
GO_ON = (
    "the next `drill run` first undoes all open acts; `./govcloud lab status` shows the power of hosts and the links"
)


@app.command("list")
def list_drills(as_json: Json = False, lang: Language = Lang.EN) -> None:
    """List the available drills and the past runs, with each run's verdict and report."""
    with error_boundary(as_json):
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
    rate: Rate = RATE_PER_S,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking; needed without a terminal.")] = False,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Show the blast radius, ask for confirmation, run the drill and write its report.

    Exit 0: passed. 1: failed. 5: an objective was missed. 6: refused, for example because the estate has a problem.
    7: the drill stopped early and all its changes were undone. 8: locked by a deployment or another drill.
    """
    with error_boundary(as_json, interrupted=GO_ON):
        estate = load_estate()
        drill = registry.get(name)
        target = _target(drill, target, site)
        fault = drill.fault(estate, target)
        fault.guard(estate)
        into_namespace(estate)
        if not yes:
            say(blast_radius.text(fault.blast_radius(estate), fault.words, lang.value))
            _confirm(lang)
        run_log.start("drill run")
        titles = site_titles(estate, lang.value)

        def report_event(event: Event) -> None:
            say(f"  {event_text(event, lang.value, titles)}")

        options = DrillOptions(target=target, rate_per_s=rate, lang=lang.value)
        result = operation.run(name, estate, options, home=paths.home(), on_event=report_event)
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


def _confirm(lang: Lang) -> None:
    # The question is on standard error: standard output is for the result.
    say("现在开始演练？[y/N]" if lang is Lang.ZH else "Begin the drill now? [y/N]")
    if sys.stdin is None or sys.stdin.readline().strip().lower() not in ("y", "yes", "是"):
        raise WrongUse("the drill was not confirmed; nothing was changed", "answer y, or add --yes")


def _verdict(result: DrillResult, estate: Estate, lang: Lang) -> str:

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
        folder = operation.report_folder(paths.home(), run_id)
        if as_json:
            print_json(operation.report_document(folder))
            return
        page = operation.report_page(folder, lang.value)
        print(page)
        if open_it:
            webbrowser.open(page.as_uri())
