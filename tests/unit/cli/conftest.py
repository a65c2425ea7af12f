"""Calls the command line in this process, with a temporary home."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from tests.unit.cli.command_result import Call, CommandResult


@pytest.fixture
def call(home: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call a command as a user without root. A command that ends in a traceback fails the test."""
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    monkeypatch.setattr("cli.output.namespace.in_operator_namespace", lambda: False)
    monkeypatch.delenv("GOVCLOUD_LANG", raising=False)

    def run(*arguments: str, answer: str = "") -> CommandResult:
        result = CliRunner().invoke(app, list(arguments), input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return CommandResult(result.exit_code, result.stdout, result.stderr)

    return run
