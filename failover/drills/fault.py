"""A fault: what a drill breaks on purpose, and how it is undone.

A fault is a value: its class says what happens, its `target` says to which object. It keeps no interfaces, so that the
blast radius and the refusals need only the declared estate, and so that a journal can name it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from estate.model import Estate
from failover.drills.blast_radius import BlastRadius
from failover.journal import Undo
from failover.protocols import DrillInterfaces, Observer
from failover.words import FaultWords
from workstation.errors import Refused, WrongUse


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """One fault with its object. A subclass without an `undo_kind` heals by itself."""

    target: str

    words: ClassVar[FaultWords]
    undo_kind: ClassVar[str] = ""
    """The journal's name for the undo of this fault. It stays the same for ever: a later version reads the journal."""
    switch: ClassVar[str]
    """What a real estate lacks for this fault. The refusal names it."""

    @property
    def site(self) -> str | None:
        """The site that is lost, or None if no site is lost."""
        return None

    @property
    def undo(self) -> Undo | None:
        """The undo for the journal; None if the fault heals by itself."""
        return Undo(kind=self.undo_kind, target=self.target) if self.undo_kind else None

    @abstractmethod
    def inject(self, on: DrillInterfaces) -> None:
        """Inject the fault. Raise CheckFailed if the estate has changed since `not_now` and nothing was injected."""

    @abstractmethod
    def heal(self, on: DrillInterfaces) -> None:
        """Remove the fault. It is no error if it is not there."""

    @abstractmethod
    def is_injected(self, on: DrillInterfaces) -> bool:
        """Return whether the fault is there."""

    @abstractmethod
    def blast_radius(self, estate: Estate) -> BlastRadius:
        """Return the blast radius. Pure."""

    def guard(self, estate: Estate) -> None:
        """Check the safety rules that need only the declared estate. Raise Refused. Pure."""
        if not estate.lab:
            raise Refused(f"this estate is real: a drill has no {self.switch} here", "rehearse it in the lab")

    def located(self, estate: Estate, on: DrillInterfaces) -> Fault:
        """Return the fault with its object if only an observation shows the object. Raise Refused."""
        return self

    def not_now(self, estate: Estate, observer: Observer) -> str:
        """Return why the running estate forbids the fault at this moment; the empty string allows it."""
        return ""


def chosen(target: str | None, names: Sequence[str], kind: str) -> str:
    """Return the target, or the first name if no target was given. Raise WrongUse with the known names."""
    if target is None:
        return names[0]
    if target not in names:
        raise WrongUse(f"unknown {kind} {target!r}", f"known {kind}s: {', '.join(names)}")
    return target
