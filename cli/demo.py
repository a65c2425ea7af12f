"""`demo`: from nothing to a site lost and regained, with the report of what citizens saw."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Annotated

import typer

from cli.output import Json, Lang, Language, answers, known, load_estate
from workstation import paths
from workstation.errors import GovcloudError
from workstation.progress import duration, say

GO_ON = "what is finished is kept; run `./govcloud demo` again to go on, or `./govcloud lab down` to remove the lab"


def demo(
    site: Annotated[
        str | None, typer.Option("--site", help="The site that loses power.", show_default="the one with the primary")
    ] = None,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Set up, start the lab, deploy the estate, take a site away and report what citizens saw."""
    with answers(as_json, interrupted=GO_ON):
        if site is not None:
            known(site, [one.name for one in load_estate().sites], "site")
        start = time.monotonic()
        say("demo: four steps; about 8 minutes with warm caches, up to 30 minutes the first time")
        for number, (words, argv) in enumerate(_steps(site, lang), start=1):
            if argv[0] == "drill":
                argv = [*argv, "--site", site or _site_of_the_primary()]
            say(f"═ {number}/4 {words}")
            last = number == 4
            # Each step is a command of its own, so that a person can repeat any of them by hand.
            stdout = None if last or not as_json else subprocess.DEVNULL
            command = [sys.executable, "-m", "cli", *argv, *(["--json"] if as_json and last else [])]
            code = subprocess.run(command, stdout=stdout, check=False).returncode
            if code:
                say(f"demo: stopped at step {number} (`./govcloud {' '.join(argv)}`), exit {code}")
                raise typer.Exit(code)
        say(
            f"demo: done in {duration(time.monotonic() - start)}. The estate is still up: "
            "`./govcloud status` looks at it, `./govcloud lab down` removes it."
        )
        say(f"reports: {paths.home() / 'drills'}")


def _site_of_the_primary() -> str:
    """Losing this one is the hardest: the database must move. Asked of the estate, since nobody stores it."""
    argv = [sys.executable, "-m", "cli", "status", "--json"]
    answer = subprocess.run(argv, stdout=subprocess.PIPE, check=False).stdout
    try:
        members = json.loads(answer)["members"]
        return str(next(member["site"] for member in members if member["role"] == "primary"))
    except (ValueError, KeyError, StopIteration):
        raise GovcloudError("no primary is seen, so the drill does not begin", "see `./govcloud status`") from None


def _steps(site: str | None, lang: Lang) -> list[tuple[str, list[str]]]:
    return [
        ("set up: packages, engine, etcd, base image", ["setup"]),
        ("start 18 machines and 13 links", ["lab", "up"]),
        ("deploy the estate", ["up"]),
        (
            f"drill: {site or 'the site with the primary'} loses power",
            ["drill", "run", "site-loss", "--yes", "--lang", lang.value],
        ),
    ]
