"""Undoes open acts, in the same run or in a later one that has only the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from failover.drills.faults import UNDOABLE
from failover.journal import Journal, Undo
from failover.protocols import DrillInterfaces
from failover.vantage import RemoteLoadGenerator
from workstation.errors import GovcloudError

logger = logging.getLogger(__name__)
STOP_LOAD = "stop_applicant"


class NotUndone(GovcloudError):
    """At least one act is not undone. Its undo stays open in the journal, and the next run tries it again.

    `why` is the error that ended the drill.
    """

    def __init__(self, failures: Sequence[str], why: str = "") -> None:
        reason = f"{why}; " if why else ""
        next_step = "remove the cause: the next `./govcloud drill run` first tries again"
        super().__init__(f"{reason}not undone: {'; '.join(failures)}", next_step)
        self.failures = tuple(failures)


def stop_load_generator(load_generator: RemoteLoadGenerator) -> Undo:
    """Return the undo for the start of this load generator."""
    return Undo(kind=STOP_LOAD, target=f"{load_generator.host}/{load_generator.run_id}")


def undo_all(journal: Journal, on: DrillInterfaces, report: Callable[[Undo], None]) -> tuple[Undo, ...]:
    """Carry out the journal's open undos, the latest first, and return the finished ones.

    Each undo is reported before it begins. If one fails, the others are still tried. Then NotUndone is raised with all
    failures. The undo continues even if progress cannot be printed (terminal closed).
    """
    failures = []
    done = []
    for undo in journal.open_undos():
        with suppress(Exception):
            report(undo)
        try:
            _undo(undo, on)
            journal.note("undone", "restore", undo=undo)
        except Exception as error:
            logger.warning("the undo failed: %s", undo, exc_info=True)
            failures.append(f"{undo}: {error}".replace("\n", "; "))
            continue
        done.append(undo)
    if failures:
        raise NotUndone(failures)
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
