"""`test`: the project's own tests, from the quick ones to the estate with a site lost."""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from typing import Annotated

import typer

from cli.output import answers, need_root
from cli.waiting import run_to_its_end
from workstation import interpreter, paths
from workstation.errors import GovcloudError
from workstation.progress import say


class Scope(StrEnum):
    """Which tests."""

    UNIT = "unit"
    RULES = "rules"
    LAB = "lab"
    ALL = "all"


FOLDERS = {
    Scope.UNIT: ("tests/unit",),
    Scope.RULES: ("tests/rules",),
    Scope.LAB: ("tests/integration", "tests/lab"),
    Scope.ALL: ("tests/unit", "tests/rules", "tests/integration", "tests/lab"),
}
TAKES = {Scope.UNIT: "a minute", Scope.RULES: "a minute", Scope.LAB: "45 minutes", Scope.ALL: "50 minutes"}


def run_tests(
    scope: Annotated[
        Scope,
        typer.Argument(help="unit and rules need no root and install nothing; lab and all take a lab that is up away."),
    ] = Scope.ALL,
    only: Annotated[str, typer.Option("-k", help="Only tests whose names match, as pytest's -k.")] = "",
) -> None:
    """Run the tests, from units to the loss of each site in the lab; the last line is pytest's own."""
    with answers(interrupted="the tests were told to end and took down what they had started"):
        prepared = {}
        if scope in (Scope.LAB, Scope.ALL):
            need_root(f"test {scope}")
            from tools import golang
            from tools import setup as installer

            installer.run(groups=frozenset(golang.Group))
            prepared = {"GOVCLOUD_TESTS_PREPARED": "1"}  # from here on a skipped test is a failed one
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began this in the background
        say(f"▸ tests: {scope} (about {TAKES[scope]} with warm caches)")
        folders = [folder for folder in FOLDERS[scope] if (paths.repo() / folder).is_dir()]
        argv = interpreter.module("pytest", "-p", "no:cacheprovider", *folders, *(["-k", only] if only else []))
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **prepared}
        code, _ = run_to_its_end(argv, cwd=paths.repo(), env=env)
        if code == 5 and not only:
            raise GovcloudError("no test was collected", "the checkout is incomplete: compare it with `git status`")
        raise typer.Exit(1 if code else 0)
