"""What plain `pulumi up` runs: the same programs on the same state, found without anything installed."""

from __future__ import annotations

import os
import runpy
import subprocess
from pathlib import Path

import pytest
from pulumi.automation.errors import CommandError
from pulumi.automation.events import EngineEvent

from stacks import engine, state, workspace
from tests.integration.stacks.machines import Machines
from tests.integration.stacks.test_interrupted import prepared
from tests.integration.stacks.test_without import REAL
from tests.unit.stacks.declared import closing_loops
from workstation import paths


def preview(stack: str) -> set[str]:
    """The kinds of steps that the program of the official distribution leads to; run as its language host runs it."""
    kinds: set[str] = set()

    def on_event(event: EngineEvent) -> None:
        if event.summary_event:
            kinds.update(str(getattr(op, "value", op)) for op in event.summary_event.resource_changes)

    def program() -> None:
        runpy.run_path(str(paths.repo() / "stacks"), run_name="__main__")

    with closing_loops():
        workspace.open_stack(stack, program).preview(refresh=True, on_event=on_event, suppress_outputs=True)
    return kinds


def test_it_finds_nothing_to_change_after_our_own_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way sees what the other did; without a lab it ends with a sentence."""
    prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(workspace, "_plugin", lambda name, module: None)
    Machines(tmp_path / "machines", monkeypatch)
    engine.up(REAL, ["province"])
    with monkeypatch.context() as patch:
        patch.setattr(state, "instance", lambda estate: REAL.name)
        assert preview("province") == {"same"}
    monkeypatch.setattr(state, "LAB_RECORD", tmp_path / "none")
    with pytest.raises(CommandError, match="no lab is up") as failed:
        preview("province")
    assert "Traceback" not in str(failed.value)


def test_a_shell_finds_everything_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, with nothing else set."""
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "a home"))
    workspace.prepare()
    script = (
        '. "$0" && command -v pulumi-resource-govcloud && echo "$PULUMI_BACKEND_URL" && '
        "python3 -c 'import estate, playbooks, stacks, pulumi'"
    )
    argv = ["sh", "-c", script, str(workspace.engine_home() / "pulumi.sh")]
    done = subprocess.run(argv, cwd=tmp_path, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(workspace.engine_home() / "bin" / workspace.PLUGIN),
        workspace.backend(),
    ]
