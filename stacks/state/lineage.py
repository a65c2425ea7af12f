"""Which of two states is newer. Pure: what two of them say of themselves in, a word or a refusal out.

A serial rises whenever the resources differ from those copied last. So a workstation with an old state, or with none,
is told before it changes anything: keys and passwords made anew would lock the estate's own hosts out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from workstation.errors import Refused


class Relation(StrEnum):
    """What a copy is to the state here."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    FORKED = "forked"
    """Both have changed since they were the same: two workstations have worked on one estate."""
    FOREIGN = "foreign"
    """Of another instance of the estate, a lab that is gone."""


@dataclass(frozen=True, kw_only=True)
class StateMetadata:
    """What a copy says of itself. `at` is when its state was last changed, `workstation` where."""

    instance: str
    serial: int
    digest: str
    at: str
    workstation: str
    resources: Mapping[str, int]
    """Their number by stack."""
    copied: bool = True
    """Whether it was ever sent: the state here may have changed since."""

    @classmethod
    def from_json(cls, text: bytes) -> StateMetadata | None:
        """None for what is no such thing."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def as_json(self) -> dict[str, Any]:
        """For `--json` and for the copy itself."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        total = sum(self.resources.values())
        return f"serial {self.serial} · changed {self.at} on {self.workstation} · {total} resources"


def relation(backup: StateMetadata, here: StateMetadata | None) -> Relation:
    """Of a copy to the state here; None is a workstation without any."""
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
    """Why this workstation must not change the estate; None where it may."""
    bring = f"bring it here with `./govcloud state restore --from {host}`"
    if mine is None:
        return Refused(
            f"this workstation has no state of the estate, and {host} holds a copy of it ({backup.as_text()}): a "
            "change from here would make new keys and passwords for an estate that is in use",
            bring,
        )
    if backup.instance != mine.instance:
        return None
    if lost := [stack for stack, number in backup.resources.items() if number and stack not in mine.resources]:
        return Refused(
            f"this workstation has lost the state of {', '.join(lost)}; {host} holds a copy of it ({backup.as_text()})",
            f"{bring} and --replace-newer",
        )
    kind = relation(backup, mine)
    if kind is Relation.NEWER:
        return Refused(
            f"{host} holds a newer state ({backup.as_text()}) than this workstation ({mine.as_text()})", bring
        )
    if kind is Relation.FORKED:
        return Refused(
            f"{host}'s copy ({backup.as_text()}) and the state here ({mine.as_text()}) were changed apart",
            f"decide which is right: {bring} and --replace-newer, or overwrite the copies with "
            "`./govcloud state copy --replace-newer`; the next `up` compares every host in either case",
        )
    return None
