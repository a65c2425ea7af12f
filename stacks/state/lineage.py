"""Decides which of two states is newer. Pure functions: the metadata of two states in, a relation or a refusal out.

The serial increases whenever the resources differ from the last backup. So a workstation with an old or missing state
is refused before it changes anything. New keys and passwords would lock the operator out of the estate's own hosts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from workstation.errors import Refused


class Relation(StrEnum):
    """How a backup relates to the local state."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    FORKED = "forked"
    """Both have changed since they were the same: two workstations have worked on one estate."""
    FOREIGN = "foreign"
    """The backup belongs to another instance of the estate: a lab that no longer exists."""


@dataclass(frozen=True, kw_only=True)
class StateMetadata:
    """Description of a state. `at` is the time of its last change, `workstation` the host name on which it was made."""

    instance: str
    serial: int
    digest: str
    at: str
    workstation: str
    resources: Mapping[str, int]
    """Number of resources by stack."""
    copied: bool = True
    """Whether this state was ever sent to an operations host. If not, the local state changed after the last backup."""

    @classmethod
    def from_json(cls, text: bytes) -> StateMetadata | None:
        """Parse the metadata. Return None if the text is not valid metadata."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def as_json(self) -> dict[str, Any]:
        """Return the metadata for `--json` and for the backup itself."""
        return asdict(self)

    def as_text(self) -> str:
        """Return one line for the operator."""
        total = sum(self.resources.values())
        return f"serial {self.serial} · changed {self.at} on {self.workstation} · {total} resources"


def relation(backup: StateMetadata, here: StateMetadata | None) -> Relation:
    """Return how a backup relates to the local state. `here` is None for a workstation without a state."""
    if here is None:
        return Relation.NEWER
    if backup.instance != here.instance:
        return Relation.FOREIGN
    if backup.digest == here.digest:
        return Relation.SAME
    if backup.serial < here.serial:
        return Relation.OLDER
    return Relation.NEWER if here.copied and backup.serial > here.serial else Relation.FORKED


def refusal_if_behind(host: str, backup: StateMetadata, mine: StateMetadata | None) -> Refused | None:
    """Return why this workstation must not change the estate, or None if it may."""
    restore = f"restore it here with `./govcloud state restore --from {host}`"
    if mine is None:
        return Refused(
            f"this workstation has no state of the estate, and {host} holds a backup of it ({backup.as_text()}): a "
            "change from here would make new keys and passwords for an estate that is in use",
            restore,
        )
    if backup.instance != mine.instance:
        return None
    if lost := [stack for stack, number in backup.resources.items() if number and stack not in mine.resources]:
        return Refused(
            f"this workstation has lost the state of {', '.join(lost)}; "
            f"{host} holds a backup of it ({backup.as_text()})",
            f"{restore} and --replace-newer",
        )
    kind = relation(backup, mine)
    if kind is Relation.NEWER:
        return Refused(
            f"{host} holds a newer state ({backup.as_text()}) than this workstation ({mine.as_text()})", restore
        )
    if kind is Relation.FORKED:
        return Refused(
            f"{host}'s backup ({backup.as_text()}) and the state here ({mine.as_text()}) have diverged: "
            "two workstations have changed the estate independently",
            f"decide which one is right: {restore} and --replace-newer, or overwrite the backups with "
            "`./govcloud state copy --replace-newer`; the next `up` compares every host in either case",
        )
    return None
