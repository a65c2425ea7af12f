"""How an act that was left open is taken back, by the same run or by a later one that knows only the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from failover.journal import Journal, Undo
from failover.protocols import Clock, Machines, Power
from failover.vantage import RemoteLoadGenerator
from workstation.errors import GovcloudError


@dataclass(frozen=True, kw_only=True)
class UndoContext:
    """What an undo may touch."""

    machines: Machines
    power: Power
    clock: Clock


def stop_load_generator(load_generator: RemoteLoadGenerator) -> Undo:
    """The undo of having started this load generator."""
    return Undo(kind="stop_applicant", target=f"{load_generator.host}/{load_generator.run_id}")


def roll_back(journal: Journal, undo_context: UndoContext, tell: Callable[[Undo], None]) -> tuple[Undo, ...]:
    """Takes back everything that the journal has open, the latest first; each is told before it is done. All are tried,
    whatever becomes of the others; then the first failure is raised, and what failed stays open for the next run. That
    nobody can be told any more, as when the operator's terminal has gone, keeps no site dark."""
    failures: list[Exception] = []
    done = []
    for undo in journal.open_undos():
        with suppress(Exception):
            tell(undo)
        try:
            _undo(undo, undo_context)
            journal.note("undone", "restore", undo=undo)
        except Exception as error:
            failures.append(error)
            continue
        done.append(undo)
    if failures:
        raise failures[0]
    return tuple(done)


def _undo(undo: Undo, undo_context: UndoContext) -> None:
    if undo.kind == "power_on":
        undo_context.power.on(undo.target)
    elif undo.kind == "stop_applicant":
        host, _, run_id = undo.target.partition("/")
        RemoteLoadGenerator(undo_context.machines, undo_context.clock, host=host, run_id=run_id).end()
    else:
        raise GovcloudError(f"the journal asks for an unknown undo: {undo}", "it was written by another version")
