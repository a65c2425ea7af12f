"""Lists, writes and restores the backups of the stacks' state on the operations hosts.

All functions except `operations_hosts` and `files_without_backup` must run where the hosts are reachable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estate.model import Estate, HostRole
from stacks.runs import engine
from stacks.state import restore as state_restore
from stacks.state import state_backup, state_files, store
from stacks.state.lineage import Relation, StateMetadata, relation
from stacks.state.restore import Restored
from workstation.errors import Refused
from workstation.ssh import Access

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StateSurvey:
    """The state on this workstation and on each operations host."""

    instance: str
    here: StateMetadata | None
    copies: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Restorable:
    """A host's backup that may replace the local state. `passphrase` is this workstation's, None if it
    does not decrypt the backup."""

    host: str
    metadata: StateMetadata
    here: StateMetadata | None
    bundle: bytes = field(repr=False)
    passphrase: str | None = field(repr=False)

    @property
    def is_current(self) -> bool:
        """Whether the local state is the same as the backup."""
        return bool(self.passphrase) and self.here is not None and relation(self.metadata, self.here) is Relation.SAME


def operations_hosts(estate: Estate) -> list[str]:
    """Return the hosts that hold backups."""
    return [host.name for host in estate.managed_hosts if host.kind is HostRole.OPS]


def files_without_backup() -> list[Path]:
    """Return the files that a new workstation needs and that no backup contains."""
    access = Access.default()
    return [state_files.passphrase_file(), access.key, access.known_hosts]


def survey(estate: Estate) -> StateSurvey:
    """Ask every operations host for its backup."""
    here, instance = state_backup.local_metadata(estate), store.instance(estate)
    rows = state_backup.summary(state_backup.survey_hosts(estate, Access.default()), here, instance)
    return StateSurvey(instance=instance, here=here, copies=tuple(rows))


def back_up(estate: Estate, *, replace_newer: bool, on_event: Callable[[str], None]) -> tuple[str, ...]:
    """Back up the state to every reachable operations host. Return the hosts that hold it. Raises Locked."""
    return engine.back_up(estate, on_event, replace_newer=replace_newer)


def fetch(estate: Estate, host: str, *, replace_newer: bool) -> Restorable:
    """Fetch a host's backup and check that it may replace the local state. Changes nothing. Raises Refused."""
    metadata, bundle = state_backup.fetch(estate, Access.default(), host)
    here = state_backup.local_metadata(estate)
    refusal = state_restore.refusal(host, metadata, here, store.instance(estate), replace_newer=replace_newer)
    if refusal:
        raise refusal
    passphrase = state_restore.matching_passphrase(bundle)
    return Restorable(host=host, metadata=metadata, here=here, bundle=bundle, passphrase=passphrase)


def check_passphrase(found: Restorable, passphrase: str) -> None:
    """Raise Refused if the passphrase does not decrypt the backup."""
    if not state_restore.opens(found.bundle, passphrase):
        raise Refused(
            f"the passphrase does not decrypt {found.host}'s backup",
            "use the passphrase with which the backup was made",
        )


def restore(estate: Estate, found: Restorable, passphrase: str) -> Restored:
    """Replace the local state with the backup. The former state is set aside. Raises Locked and Refused."""
    logger.info("restoring the backup of %s: %s", found.host, found.metadata.as_text())
    return engine.restore(estate, found.host, found.metadata, found.bundle, passphrase)
