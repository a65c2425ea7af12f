"""A program run inline, in our own process, at what its resources cost: the SDK's own way costs more than that.

With 1 000 resources the SDK spends most of its processor time on looking at every output that is not known yet each
time that one becomes known, and on one call to the engine, waited for, for each of five debug messages per resource.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pulumi
from pulumi.runtime import resource as registering
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.settings import SETTINGS

Program = Callable[[], None]

YOUNG = 50_000
"""New objects before the collector looks for cycles. Its own 700 are for programs that make fewer, and keep fewer."""


def optimized(program: Program) -> Callable[[], Awaitable[None]]:
    """The same program for the SDK to run. What fails is told by the SDK as ever."""

    async def run() -> None:
        _unburden()
        with _rarely_collected():
            program()
            await _known()

    return run


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Within the block the collector runs rarely, and does not look again at what was there before."""
    former = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG, *former[1:])
    try:
        yield
    finally:
        gc.set_threshold(*former)
        gc.unfreeze()


async def _known() -> None:
    """Returns when all outputs are known, or one has failed: all are waited for at once."""
    while waiting := [task for task in SETTINGS.outputs if not task.done()]:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        if any(task.cancelled() or task.exception() for task in done):
            return  # the SDK keeps it, and tells it


def _unburden() -> None:
    """From now on without what nobody reads: debug messages, which the engine throws away unless it is run with
    `--debug`, and the stack trace of each declaration, which would be more than half of a state that is written whole
    for each resource.

    Not for the program's time alone: the SDK also sends them to an engine that has died, and then does not clean up.
    """
    pulumi.log.debug, registering._get_stack_trace = _unsaid, StackTrace


def _unsaid(*_: Any, **__: Any) -> None:
    pass
