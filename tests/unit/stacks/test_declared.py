"""No event loop of Pulumi outlives its test."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest
from pulumi.automation import _server
from pulumi.runtime.proto import language_pb2

from tests.unit.stacks.declared import closing_loops


@pytest.mark.parametrize("late", ["", "cleanup", "thread"])
def test_the_loop_of_a_program_is_closed_although_the_sdk_leaves_it_open(
    monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """A task fails while the SDK cleans up, or the program outlives its engine."""
    loops: list[asyncio.AbstractEventLoop] = []
    begun, engine_ended = threading.Event(), threading.Event()

    async def fail_late() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("the engine has ended") from None

    async def program() -> None:
        loops.append(asyncio.get_running_loop())
        begun.set()
        if late == "thread":
            await asyncio.to_thread(engine_ended.wait)
        if late == "cleanup":
            tasks.append(asyncio.ensure_future(fail_late()))
            await asyncio.sleep(0)

    def serve() -> None:
        with suppress(ValueError):
            _server.LanguageServer(program).Run(request, None)

    tasks: list[asyncio.Task[None]] = []
    request = language_pb2.RunRequest(project="p", stack="s", parallel=1)
    monkeypatch.setattr(_server, "reset_options", lambda **options: None)
    monkeypatch.setattr(_server, "run_in_stack", lambda started: started())
    monkeypatch.setattr(_server.log, "debug", lambda text: None)
    with closing_loops():
        threading.Thread(target=serve).start()
        assert begun.wait(10)
        threading.Timer(0.1, engine_ended.set).start()
    assert loops[0].is_closed()
    assert all(task.done() for task in tasks)
