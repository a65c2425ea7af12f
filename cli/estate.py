"""`estate`: validate, print and draw what is declared. Needs no root and touches no system."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.output import EstateFile, Json, Lang, Language, answers, emit, load_estate, named_path
from workstation.errors import WrongUse
from workstation.progress import say

app = typer.Typer(help="What the city declares: validate, print, draw.", no_args_is_help=True)


@app.command()
def check(file: EstateFile = None, as_json: Json = False) -> None:
    """Check every rule and tell all problems at once; exit 1 where there is one. Advice is told and forbids nothing."""
    with answers(as_json):
        from estate.loader import advice

        estate = load_estate(file)
        advised = advice(file)
        counts = {"sites": len(estate.sites), "hosts": len(estate.hosts), "links": len(estate.links)}
        for each in advised:
            say(f"advice: {each}")
        if as_json:
            emit({"estate": estate.name, "problems": [], "advice": [asdict(each) for each in advised], **counts})
        else:
            told = ", ".join(f"{count} {what}" for what, count in counts.items())
            print(f"estate {estate.name}: {told}; no problem found")


@app.command()
def show(
    file: EstateFile = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="One document that `estate check --file` accepts.")] = False,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Print sites, hosts with their addresses, links and services."""
    with answers(as_json):
        from estate import show as view

        if yaml and as_json:
            raise WrongUse("--yaml and --json were both given", "choose one of them")
        estate = load_estate(file)
        if yaml:
            print(view.to_yaml(estate), end="")
        elif as_json:
            emit(view.to_json(estate))
        else:
            print(view.to_text(estate, lang.value), end="")


Picture = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=named_path,
        metavar="PATH",
        help="Where to write the SVG.",
        show_default="standard output",
    ),
]


@app.command()
def diagram(file: EstateFile = None, output: Picture = None) -> None:
    """Draw sites, hosts and links as one SVG picture."""
    with answers():
        from estate.diagram import draw

        picture = draw(load_estate(file))
        if output is None:
            print(picture, end="")
            return
        output.write_text(picture, encoding="utf-8")
        say(f"drawn: {output}")
