"""`demo`: from an empty machine to a site-loss drill with its report."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Annotated, Any

import typer

from cli import run_log
from cli.json_output import print_json
from cli.output import Json, Lang, Language, error_boundary, load_estate
from lab.memory import PeakMemory
from workstation import paths, subprocesses
from workstation.errors import GovcloudError, ObjectiveMissed, validated_choice
from workstation.progress import duration, say

PRIMARY_SEEN_WITHIN_S, PRIMARY_POLL_S = 60.0, 0.5
"""On a machine that has just deployed an estate, a single observation may miss the primary."""
GO_ON = "finished steps are kept; run `./govcloud demo` again to continue, or `./govcloud lab down` to remove the lab"

app = typer.Typer()


@app.command()
def demo(
    site: Annotated[
        str | None,
        typer.Option(
            "--site", metavar="SITE", help="The site that loses power.", show_default="the one with the primary"
        ),
    ] = None,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Set up this machine, start the lab, deploy the estate, run a site-loss drill, and write its report.

    It takes 4 to 8 minutes with warm caches, and up to 30 minutes the first time.

    Exit 5: no data was lost, but an objective was missed.
    """
    with error_boundary(as_json, interrupted=GO_ON):
        if site is not None:
            validated_choice(site, [one.name for one in load_estate().sites], "site")
        start = time.monotonic()
        say("demo: four steps; about 8 minutes with warm caches, up to 30 minutes the first time")
        with PeakMemory() as peak:
            code, report = _carry_out(site, as_json, lang)
        took, used_mib = time.monotonic() - start, peak.used_mib()
        if report:
            which = report.get("demo", {})
            print_json({**report, "demo": {**which, "seconds": round(took, 1), "memory_peak_mib": used_mib}})
        if used_mib is not None:
            say(f"memory: at most {used_mib} MiB less available than before the lab (page cache excluded)")
        if code in (0, ObjectiveMissed.exit_code):
            missed = ", but an objective was missed: the report says which" if code else ""
            say(
                f"demo: done in {duration(took)}{missed}. The estate is still up: "
                "`./govcloud status` shows its state, `./govcloud lab down` removes it."
            )
            say(f"reports: {paths.home() / 'drills'}")
        raise typer.Exit(code)


def _carry_out(site: str | None, as_json: bool, lang: Lang) -> tuple[int, dict[str, Any]]:
    """Run the steps until one fails. Returns the last exit code and, with `as_json`, an object.

    The object is the drill's own, or the error of the failed step with the step's number and command. Each step is a
    command of its own, so that the operator can repeat it by hand.
    """
    report: dict[str, Any] = {}
    for number, (title, argv) in enumerate(_steps(site, lang), start=1):
        drill = argv[0] == "drill"
        if drill:
            argv = [*argv, "--site", site or _site_of_the_primary()]
        say(f"═ {number}/4 {title}")
        arguments = [*argv, *(["--json"] if as_json else []), *(["--verbose"] if run_log.is_verbose() else [])]
        code, output = subprocesses.run_to_completion(subprocesses.python_module("cli", *arguments), keep=as_json)
        if code and not (drill and code == ObjectiveMissed.exit_code):
            command = f"./govcloud {' '.join(argv)}"
            say(f"demo: stopped at step {number} (`{command}`), exit {code}")
            return code, _failed(number, command, code, output) if as_json else {}
        if drill and output:
            report = json.loads(output)
    return code, report


def _failed(number: int, command: str, code: int, output: bytes) -> dict[str, Any]:
    """Return the object of a demo that ends early: the step's own object, if it printed one, and the failed step."""
    try:
        own = dict(json.loads(output))
    except (ValueError, TypeError):
        own = {}
    why = f"step {number} (`{command}`) failed; its messages are on standard error"
    error = {"error": why, "next_step": GO_ON, "exit_code": code}
    return {**error, **own, "demo": {"failed_step": number, "command": command}}


def _site_of_the_primary() -> str:
    """Return the primary's site. Losing it is the hardest case: the database must move.

    The estate itself is asked, because the primary's site is not stored anywhere. Raises GovcloudError after
    `PRIMARY_SEEN_WITHIN_S`.
    """
    end = time.monotonic() + PRIMARY_SEEN_WITHIN_S
    while (site := _find_primary_site()) is None:
        if time.monotonic() >= end:
            why = f"no primary was found for {duration(PRIMARY_SEEN_WITHIN_S)}, so the drill did not begin"
            raise GovcloudError(why, "see `./govcloud status`")
        time.sleep(PRIMARY_POLL_S)
    return site


def _find_primary_site() -> str | None:
    """Return the primary's site, or None if this observation has no primary."""
    argv = subprocesses.python_module("cli", "status", "--json")
    answer = subprocess.run(argv, stdout=subprocess.PIPE, check=False).stdout
    try:
        members = json.loads(answer)["members"]
        return next((str(member["site"]) for member in members if member["role"] == "primary"), None)
    except (ValueError, KeyError):
        return None


def _steps(site: str | None, lang: Lang) -> list[tuple[str, list[str]]]:
    return [
        ("set up this machine: packages, engine, etcd, Kubernetes, base image", ["setup"]),
        ("start 18 machines and 13 links", ["lab", "up"]),
        ("deploy the estate", ["up"]),
        (
            f"drill: {site or 'the site with the primary'} loses power",
            ["drill", "run", "site-loss", "--yes", "--lang", lang.value],
        ),
    ]
