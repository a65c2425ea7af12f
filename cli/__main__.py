"""`python -m cli`: what `./govcloud` starts."""

from __future__ import annotations

from cli.app import app

app(prog_name="govcloud")
