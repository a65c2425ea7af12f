"""`status`: one screen with the health of the estate, as seen by its own hosts and vantages."""

from __future__ import annotations

import typer

from cli.json_output import print_json
from cli.output import Json, Lang, Language, error_boundary, into_namespace, load_estate
from monitors import health, observe
from monitors import status as screen
from workstation.ssh import Access

app = typer.Typer()


@app.command()
def status(as_json: Json = False, lang: Language = Lang.EN) -> None:
    """Show the health of the estate: sites, links, BGP, database roles and lag, the service from each vantage.

    Exit 1 if there is a problem.
    """
    with error_boundary(as_json):
        estate = load_estate()
        into_namespace(estate)
        observed = observe.snapshot(estate, Access.default())
        problems = health.problems(estate, observed)
        if as_json:
            print_json(screen.as_json(estate, observed, problems))
        else:
            print(screen.as_text(estate, observed, problems, lang.value))
        if problems:
            raise typer.Exit(1)
