"""`test`: the project's own tests, from the quick ones to the estate with a site lost."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from enum import StrEnum
from typing import Annotated

import typer

from cli.output import error_boundary, need_root
from cli.setup import prepare
from workstation import paths, subprocesses
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
    Scope.ALL: ("tests/integration", "tests/unit", "tests/rules", "tests/lab"),
}
ALONE = (
    "tests/integration/approval/test_replacement.py",
    "tests/integration/clusters/test_upgrade.py",
    "tests/integration/data",
    "tests/integration/failover",
    "tests/integration/observe",
    "tests/lab",
)
"""Folders and files: what measures times, or holds elections that have deadlines, has the machine to itself, after
all others have ended."""
AT_ONCE = 3
"""Processes for the others. Those that bring daemons up wait for most of their time, so one more than the smallest
machine has processors."""
TAKES = {Scope.UNIT: "three minutes", Scope.RULES: "a minute", Scope.LAB: "45 minutes", Scope.ALL: "45 minutes"}


BEFORE = "GOVCLOUD_TESTS_TREE"
"""Environment variable with the checkout's state before the first test."""
FAILED = "GOVCLOUD_TESTS_FAILED"
"""Environment variable with the file that takes the names of tests that failed, one a line."""
A_FEW = 3
"""Tests at most that get a second attempt: more have another cause than a processor that others had."""
SOME_FAILED, NONE_COLLECTED = 1, 5
"""pytest's exit codes."""
NO_MATCH = "choose another -k: it goes by the names of files and functions"
INCOMPLETE = "the checkout is incomplete: compare it with `git status`"


def parts(folders: tuple[str, ...]) -> list[list[str]]:
    """pytest's arguments for each of its runs, one after the other: what shares the machine, then what is alone."""
    shared = [folder for folder in folders if folder not in ALONE]
    alone = [path for path in ALONE if any(f"{path}/".startswith(f"{folder}/") for folder in folders)]
    beside = ["-n", str(AT_ONCE), "--dist", "loadscope", "--no-loadscope-reorder"]
    ignored = [f"--ignore={path}" for path in alone]
    return [argv for argv in ([*beside, *ignored, *shared] if shared else [], alone) if argv]


def run_tests(
    scope: Annotated[
        Scope,
        typer.Argument(
            metavar="unit|rules|lab|all",
            help="unit and rules need no root and install nothing; lab and all need root and remove a lab that is up.",
        ),
    ] = Scope.ALL,
    only: Annotated[str, typer.Option("-k", help="Only tests whose names match, as pytest's -k.")] = "",
) -> None:
    """Run the tests, from units to the loss of each city site in the lab; the last line is pytest's own.

    unit takes about three minutes, rules one, lab and all 45 minutes with warm caches.
    """
    with error_boundary(interrupted="the tests were told to end and took down what they had started"):
        prepared = {}
        if scope in (Scope.LAB, Scope.ALL):
            need_root(f"test {scope}")
            from tools import golang

            prepare(frozenset(golang.Group))
            prepared = {"GOVCLOUD_TESTS_PREPARED": "1"}  # from here on a skipped test is a failed one
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began this in the background
        say(f"▸ tests: {scope} (about {TAKES[scope]} with warm caches)")
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", BEFORE: tree(), **prepared}
        codes = []
        for arguments in parts(FOLDERS[scope]):
            codes.append(run_part([*arguments, *(["-k", only] if only else [])], env))
            if codes[-1] not in (0, NONE_COLLECTED):
                raise typer.Exit(1)
        if all(codes):
            raise GovcloudError("no test was collected", NO_MATCH if only else INCOMPLETE)


def run_part(arguments: list[str], env: dict[str, str]) -> int:
    """pytest's exit code. A few tests that failed beside others are told, and get a second attempt alone, which counts:
    see decision 0023."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
        code, _ = subprocesses.run_to_completion(
            subprocesses.python_module("pytest", *arguments), cwd=paths.repo(), env={**env, FAILED: file.name}
        )
        names = file.read().splitlines()
    if code != SOME_FAILED or "-n" not in arguments or not 0 < len(names) <= A_FEW:
        return code
    say(f"▸ a second attempt, with nothing beside: {', '.join(names)}")
    code, _ = subprocesses.run_to_completion(subprocesses.python_module("pytest", *names), cwd=paths.repo(), env=env)
    for name in names if code == 0 else ():
        say(f"! unsteady: {name} failed beside others and passed alone; look for the cause before it does so again")
    return code


def tree() -> str:
    """Every file of the checkout that is changed or new, as `git status` has it, those included that git is told to
    ignore; empty outside of a repository."""
    argv = ["git", "status", "--porcelain", "--untracked-files=all", "--ignored"]
    return subprocess.run(argv, cwd=paths.repo(), capture_output=True, text=True, check=False).stdout
