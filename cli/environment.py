"""`python`: the interpreter of the project's environment, for tests, linters and editors."""

from __future__ import annotations

import os
import sys

import typer

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}
"""Leave all arguments to Python."""

app = typer.Typer()


@app.command("python", context_settings=PASS_ON)
def run_python(context: typer.Context) -> None:
    """Run the environment's Python with this checkout on its path, for example `python -m pytest tests/unit/estate`.

    `python -c 'import sys; print(sys.executable)'` prints the interpreter that an editor needs. Needs no root.
    """
    os.execv(sys.executable, [sys.executable, "-P", *context.args])
