"""`test`: the project's own tests, from unit tests to the loss of each city site in the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.output import error_boundary, need_root
from operations.machine import prepare
from tools import golang
from workstation import paths, subprocesses
from workstation.errors import GovcloudError, WrongUse
from workstation.progress import say

app = typer.Typer()


class Scope(StrEnum):
    """Which tests to run."""

    UNIT = "unit"
    RULES = "rules"
    LAB = "lab"
    SHORT = "short"
    NIGHTLY = "nightly"


NIGHTLY = "nightly"
"""Marker of tests that are too long for the short tier."""
TIMED = (
    "tests/integration/approval/test_replacement.py",
    "tests/integration/clusters/test_upgrade.py",
    "tests/integration/data",
    "tests/integration/failover",
    "tests/integration/observe",
)
"""Folders and files that measure times or have elections with deadlines. They run alone on the machine, after all tests
that share it. Two at a time took 3 min 48 s in place of 4 min 15 s, and one of them failed."""
LAB = "tests/lab"
AT_ONCE = 3
"""Processes for the tests that share the machine: one more than the smallest machine has processors. Tests that start
daemons mostly wait."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of pytest. With several `processes`, its tests share the machine with each other."""

    paths: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    processes: int = 1

    def arguments(self) -> list[str]:
        """Return pytest's arguments."""
        several = ["-n", str(self.processes), "--dist", "loadscope", "--no-loadscope-reorder"]
        shared = several if self.processes > 1 else []
        return [*shared, *(f"--ignore={path}" for path in self.ignored), *self.paths]


SHARED = Run(paths=("tests/integration", "tests/unit", "tests/rules"), ignored=TIMED, processes=AT_ONCE)
SHORT = (SHARED, Run(paths=TIMED), Run(paths=(LAB,)))
RUNS: dict[Scope, tuple[Run, ...]] = {
    Scope.UNIT: (Run(paths=("tests/unit",), processes=AT_ONCE),),
    Scope.RULES: (Run(paths=("tests/rules",), processes=AT_ONCE),),
    Scope.LAB: (Run(paths=("tests/integration",), ignored=TIMED, processes=AT_ONCE), *SHORT[1:]),
    Scope.SHORT: SHORT,
}
PARTS: tuple[tuple[Run, ...], ...] = (
    (SHARED,),
    (Run(paths=TIMED),),
    (Run(paths=tuple(f"{LAB}/test_{name}.py" for name in (
        "down", "wires", "power", "network", "deploy", "state", "hosts", "protections", "pods"))),),
    (Run(paths=tuple(f"{LAB}/test_{name}.py" for name in ("drills", "gateways", "destroy", "end", "tree"))),),
)  # fmt: skip
"""All nightly tests in parts of at most 25 minutes. No part needs another part."""
GOALS = {
    Scope.UNIT: "3 minutes",
    Scope.RULES: "1 minute",
    Scope.LAB: "20 minutes",
    Scope.SHORT: "25 minutes",
    Scope.NIGHTLY: f"25 minutes for each of {len(PARTS)} parts",
}

BEFORE = "GOVCLOUD_TESTS_TREE"
"""Environment variable with the checkout's state before the first test."""
FAILED = "GOVCLOUD_TESTS_FAILED"
"""Environment variable with the file for the names of failed tests, one per line."""
DURATIONS = "GOVCLOUD_TESTS_DURATIONS"
"""Environment variable with the file for the seconds of each test in all runs of one command, one test per line."""
A_FEW = 3
"""At most this many failed tests get a second attempt. More failures have another cause than a busy processor."""
SOME_FAILED, NONE_COLLECTED = 1, 5
"""pytest's exit codes."""
NO_MATCH = "choose another -k: it matches the names of files and functions"
INCOMPLETE = "the checkout is incomplete: compare it with `git status`"


def runs(scope: Scope, part: int | None = None) -> tuple[Run, ...]:
    """Return the runs of pytest for a scope, in order. Raise `WrongUse` for a part that does not exist."""
    if scope is not Scope.NIGHTLY:
        if part is not None:
            raise WrongUse("only the nightly tests have parts", "./govcloud test nightly --part 1")
        return RUNS[scope]
    if part is None:
        return tuple(run for one in PARTS for run in one)
    if not 1 <= part <= len(PARTS):
        raise WrongUse(f"there is no part {part}", f"known parts: 1 to {len(PARTS)}")
    return PARTS[part - 1]


@app.command("test")
def run_tests(
    scope: Annotated[
        Scope,
        typer.Argument(
            metavar="unit|rules|lab|nightly",
            help="Default: the short tier. unit and rules need no root and install nothing on the system. The "
            "others need root and remove a running lab.",
        ),
    ] = Scope.SHORT,
    only: Annotated[
        str,
        typer.Option(
            "-k", help="Only tests whose names match, as pytest's -k. It searches all tiers, also nightly tests."
        ),
    ] = "",
    part: Annotated[
        int | None, typer.Option(metavar="N", help=f"One part of the nightly tests, 1 to {len(PARTS)}.")
    ] = None,
) -> None:
    """Run the tests, from unit tests to the loss of each city site in the lab. The last line is pytest's own.

    Goals with warm caches, in minutes: short tier 25, unit 3, rules 1, lab 20; each part of `nightly` 25. `nightly`
    runs every test. Each run ends with its total time and its ten slowest tests.
    """
    with error_boundary(interrupted="the tests were stopped and removed everything that they had started"):
        wanted, prepared = runs(scope, part), {}
        if scope not in (Scope.UNIT, Scope.RULES):
            need_root(f"test {scope}")
            # Only the nightly upgrade needs the version of Kubernetes that the estate does not use; -k may choose it.
            prepare(frozenset(golang.Group) if scope is Scope.NIGHTLY or only else None)
            prepared = {"GOVCLOUD_TESTS_PREPARED": "1"}  # from now on, a skipped test fails
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for background jobs
        say(f"▸ tests: {scope} (goal with warm caches: {GOALS[scope]})")
        chosen = ["-k", only] if only else [] if scope is Scope.NIGHTLY else ["-m", f"not {NIGHTLY}"]
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as durations:
            durations.write(f"{time.time()}\n")
            durations.flush()
            env = {**os.environ, BEFORE: tree(), DURATIONS: durations.name, **prepared}
            codes = []
            for run in wanted:
                codes.append(run_part([*run.arguments(), *chosen], env))
                if codes[-1] not in (0, NONE_COLLECTED) and scope is not Scope.NIGHTLY:
                    raise typer.Exit(1)
        if set(codes) - {0, NONE_COLLECTED}:
            raise typer.Exit(1)
        if all(codes):
            raise GovcloudError("no test was collected", NO_MATCH if only else INCOMPLETE)


def run_part(arguments: Sequence[str], env: dict[str, str]) -> int:
    """Run pytest and return its exit code.

    After a parallel run, a few failed tests get a second attempt alone. That attempt counts (decision 0023).
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
        code, _ = subprocesses.run_to_completion(
            subprocesses.python_module("pytest", *arguments), cwd=paths.repo(), env={**env, FAILED: file.name}
        )
        names = file.read().splitlines()
    if code != SOME_FAILED or "-n" not in arguments or not 0 < len(names) <= A_FEW:
        return code
    say(f"▸ second attempt, one test at a time: {', '.join(names)}")
    code, _ = subprocesses.run_to_completion(subprocesses.python_module("pytest", *names), cwd=paths.repo(), env=env)
    for name in names if code == 0 else ():
        say(f"! unsteady: {name} failed next to other tests and passed alone; find the cause before it fails again")
    return code


def slowest(file: Path, count: int = 10) -> tuple[float, list[tuple[float, str]]]:
    """Return the seconds since the command began, and the slowest tests of its runs so far with their seconds."""
    began, *lines = file.read_text(encoding="utf-8").splitlines()
    seconds = [(float(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]
    return time.time() - float(began), sorted(seconds, reverse=True)[:count]


def tree() -> str:
    """Return the changed, new and ignored files of the checkout, in the format of `git status`.

    Empty outside of a repository.
    """
    argv = ["git", "status", "--porcelain", "--untracked-files=all", "--ignored"]
    return subprocess.run(argv, cwd=paths.repo(), capture_output=True, text=True, check=False).stdout
