"""`estate`: validate, print and draw the declared estate. Needs no root and changes no system."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.json_output import print_json
from cli.output import EstateFile, Json, Lang, Language, error_boundary, load_estate, named_path
from estate import tables
from estate.diagram import draw
from estate.loader import advice
from workstation.errors import WrongUse
from workstation.progress import say

app = typer.Typer(help="The declared estate: validate, print, draw.", no_args_is_help=True)

ResultLanguage = Annotated[
    Lang,
    typer.Option("--lang", envvar="GOVCLOUD_LANG", help="Language of the result; problems and advice are in English."),
]
PictureLanguage = Annotated[
    Lang | None,
    typer.Option("--lang", envvar="GOVCLOUD_LANG", help="Language of the picture.", show_default="both, side by side"),
]


@app.command()
def check(file: EstateFile = None, as_json: Json = False, lang: ResultLanguage = Lang.EN) -> None:
    """Check every rule and report all problems at once. Exit 1 if there is a problem; advice does not count."""
    with error_boundary(as_json):
        estate = load_estate(file)
        advised = advice(file)
        counts = {"sites": len(estate.sites), "hosts": len(estate.hosts), "links": len(estate.links)}
        if as_json:
            print_json({"estate": estate.name, "problems": [], "advice": [asdict(each) for each in advised], **counts})
        for each in advised:
            say(f"advice: {each}")
        result = _no_problem(estate.name, counts, lang)
        say(result) if as_json else print(result)


def _no_problem(name: str, counts: dict[str, int], lang: Lang) -> str:
    if lang is Lang.ZH:
        titles = {"sites": "个中心", "hosts": "台主机", "links": "条线路"}
        return f"全域 {name}：{'、'.join(f'{n} {titles[what]}' for what, n in counts.items())}；未发现问题"
    return f"estate {name}: {', '.join(f'{n} {what}' for what, n in counts.items())}; no problem found"


@app.command()
def show(
    file: EstateFile = None,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Print one YAML document that `estate check --file` accepts.")
    ] = False,
    as_json: Json = False,
    lang: Language = Lang.EN,
) -> None:
    """Print sites, hosts with their addresses, links and services."""
    with error_boundary(as_json):
        if yaml and as_json:
            raise WrongUse("--yaml and --json were both given", "choose one of them")
        estate = load_estate(file)
        if yaml:
            print(tables.to_yaml(estate), end="")
        elif as_json:
            print_json(tables.to_json(estate))
        else:
            print(tables.to_text(estate, lang.value), end="")


Picture = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=named_path,
        metavar="PATH",
        help="File to write the SVG to.",
        show_default="standard output",
    ),
]


@app.command()
def diagram(file: EstateFile = None, output: Picture = None, lang: PictureLanguage = None) -> None:
    """Draw sites, clusters, hosts and links as one SVG picture."""
    with error_boundary():
        picture = draw(load_estate(file), lang.value if lang else None)
        if output is None:
            print(picture, end="")
            return
        output.write_text(picture, encoding="utf-8")
        say(f"written: {output}")
