"""After an upgrade of Pulumi's SDK, these tests name the private interface that has changed (decision 0033)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest
from pulumi import automation as auto
from pulumi.runtime import resource as registering
from pulumi.runtime.proto.source_pb2 import StackTrace

from stacks.runs import pulumi_private, workspace
from stacks.state import state_files
from tests.unit.stacks.declared import declare

CALLS: list[str] = []


class Engine(auto.PulumiCommand):
    """Records the engine's runs and starts none."""

    def __init__(self) -> None:
        self.command, self.version = "pulumi", None
        self.runs: list[list[str]] = []

    def run(self, args: list[str], *_: object, **__: object) -> auto.CommandResult:
        """Record the arguments."""
        self.runs.append(args)
        return auto.CommandResult(stdout="", stderr="", code=0)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of all stacks of the test."""
    engine = Engine()
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    monkeypatch.setattr(workspace, "Engine", lambda: engine)
    return engine


def test_an_existing_stack_is_opened_without_an_engine_run(engine: Engine) -> None:
    """Each engine run takes about a second, and a command opens every stack."""
    workspace.prepare()
    workspace.open_stack("data", lambda: None)
    assert [run[:3] for run in engine.runs] == [["stack", "init", "data"]]
    state_files.checkpoint("data").parent.mkdir(parents=True)
    state_files.checkpoint("data").write_text("{}")
    engine.runs.clear()
    stack = workspace.open_stack("data", lambda: None)
    assert engine.runs == []
    stack.unprotect_all()
    assert engine.runs == [["state", "unprotect", "--all", "--yes", "--stack", "data"]]


def test_the_sdk_has_no_public_way_to_open_a_stack_of_our_class() -> None:
    """If this fails, `NamedStack` can use the public way."""
    assert not hasattr(auto, "StackInitMode")
    assert list(inspect.signature(auto.Stack.__init__).parameters) == ["self", "name", "workspace", "mode"]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The SDK as it is without our changes. Returns the function that makes them."""
    make = pulumi_private.disable_debug_overhead
    monkeypatch.setattr(pulumi.log, "debug", lambda *_, **__: CALLS.append("debug"))
    monkeypatch.setattr(registering, "_get_stack_trace", lambda: CALLS.append("trace") or StackTrace())
    CALLS.clear()
    return make


def program() -> None:
    pulumi.CustomResource("govcloud:index:Password", "one", {"generation": 1})


def test_the_sdk_still_sends_debug_messages_and_stack_traces(sdk: Callable[[], None]) -> None:
    """If it has stopped, or uses other functions, `disable_debug_overhead` is dead code."""
    declare(program, "data")
    assert set(CALLS) == {"debug", "trace"}


def test_both_are_off_after_our_change(sdk: Callable[[], None]) -> None:
    sdk()
    recorded = declare(program, "data")
    assert CALLS == []
    assert not recorded.requests["one"].stackTrace.frames


def test_the_sdk_still_lists_its_unknown_outputs() -> None:
    """Without the list, the SDK's own slow wait would do all the work."""

    async def run() -> int:
        output = pulumi.Output.from_input(asyncio.sleep(0, result="known"))
        waiting = len(pulumi_private.unknown_outputs())
        await output.future()
        return waiting

    assert asyncio.run(run()) >= 1
