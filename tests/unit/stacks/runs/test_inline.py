"""A program run inline: all outputs are waited for, the SDK keeps errors, and the garbage collector is restored."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import pytest
from pulumi.runtime.settings import SETTINGS

from stacks.runs import inline


@pytest.fixture
def outputs() -> set[asyncio.Task[Any]]:
    """The SDK's list of unknown outputs, emptied: other tests may have left some."""
    SETTINGS.outputs.clear()
    return SETTINGS.outputs


def starting(outputs: set[asyncio.Task[Any]], *works: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A program whose outputs become known as the works end. The SDK drops outputs that have not failed."""

    def program() -> None:
        for work in works:
            task = asyncio.ensure_future(work())
            outputs.add(task)
            task.add_done_callback(lambda done: None if done.exception() else outputs.discard(done))

    return program


def test_all_outputs_are_waited_for_also_late_outputs(outputs: set[asyncio.Task[Any]]) -> None:
    known: list[int] = []

    async def later(number: int) -> None:
        await asyncio.sleep(0)
        known.append(number)
        if number:
            starting(outputs, lambda: later(number - 1))()

    asyncio.run(inline.optimized(starting(outputs, lambda: later(3), lambda: later(2)))())
    assert sorted(known) == [0, 0, 1, 1, 2, 2, 3]
    assert not outputs


def test_a_failure_ends_the_wait_at_once_and_stays_for_the_sdk_to_report(outputs: set[asyncio.Task[Any]]) -> None:
    """Other outputs may take long, or never become known."""

    async def forever() -> None:
        await asyncio.Event().wait()

    async def fails() -> None:
        raise ValueError("reported by the SDK")

    async def run() -> list[asyncio.Task[Any]]:
        async with asyncio.timeout(30):
            await inline.optimized(starting(outputs, forever, fails))()
        return [task for task in outputs if task.done()]

    (failed,) = asyncio.run(run())
    assert str(failed.exception()) == "reported by the SDK"


def test_each_output_is_checked_once_for_any_number_of_outputs(
    outputs: set[asyncio.Task[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own wait checks all unknown outputs each time that one becomes known."""
    checked: list[int] = []
    wait = asyncio.wait

    async def counted(tasks: Any, **options: Any) -> Any:
        checked.append(len(tasks))
        return await wait(tasks, **options)

    async def after(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    monkeypatch.setattr(asyncio, "wait", counted)
    works = [lambda turns=turns: after(turns) for turns in range(1, 101)]
    asyncio.run(inline.optimized(starting(outputs, *works))())
    assert sum(checked) == 100


@pytest.mark.parametrize("fails", [False, True])
def test_the_settings_of_the_garbage_collector_are_restored(outputs: set[asyncio.Task[Any]], fails: bool) -> None:
    before, during = gc.get_threshold(), list[Any]()

    def program() -> None:
        during.append(gc.get_threshold())
        if fails:
            raise KeyError

    async def run() -> None:
        with pytest.raises(KeyError) if fails else nullcontext():
            await inline.optimized(program)()

    asyncio.run(run())
    assert during != [before]
    assert gc.get_threshold() == before
