"""Undoes open acts, in the same run or in a later one that has only the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from failover.drills.faults import UNDOABLE
from failover.journal import Journal, Undo
from failover.protocols import DrillInterfaces
from failover.vantage import RemoteLoadGenerator
from workstation.errors import GovcloudError

STOP_LOAD = "stop_applicant"


def stop_load_generator(load_generator: RemoteLoadGenerator) -> Undo:
    """Return the undo for the start of this load generator."""
    return Undo(kind=STOP_LOAD, target=f"{load_generator.host}/{load_generator.run_id}")


def undo_all(journal: Journal, on: DrillInterfaces, report: Callable[[Undo], None]) -> tuple[Undo, ...]:
    """Carry out the journal's open undos, the latest first, and return the finished ones.

    Each undo is reported before it begins. If one fails, the others are still tried. Then the first error is raised,
    and the failed undos stay open for the next run. The undo continues even if progress cannot be printed (terminal
    closed).
    """
    failures: list[Exception] = []
    done = []
    for undo in journal.open_undos():
        with suppress(Exception):
            report(undo)
        try:
            _undo(undo, on)
            journal.note("undone", "restore", undo=undo)
        except Exception as error:
            failures.append(error)
            continue
        done.append(undo)
    if failures:
        raise failures[0]
    return tuple(done)


def _undo(undo: Undo, on: DrillInterfaces) -> None:
    if undo.kind == STOP_LOAD:
        host, _, run_id = undo.target.partition("/")
        RemoteLoadGenerator(on.machines, on.clock, host=host, run_id=run_id).end()
        return
    for fault in UNDOABLE:
        if fault.undo_kind == undo.kind:
            fault(target=undo.target).heal(on)
            return
    raise GovcloudError(
        f"the journal has an unknown undo: {undo}", "undo it with the version of govcloud that wrote the journal"
    )
