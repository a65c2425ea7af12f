"""Restores a lost state from an operations host's backup, with the passphrase from the safe.

All checks come before the first change: the backup belongs to this estate, it replaces nothing newer, and the
passphrase decrypts it. The new state is written completely next to the old one. The old one is then set aside, never
deleted.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from estate.model import Estate
from stacks.phases import stack_names
from stacks.state import passphrase, state_backup, state_files, store
from stacks.state.lineage import Relation, StateMetadata, relation
from workstation import atomic_write
from workstation.errors import GovcloudError, Refused


@dataclass(frozen=True, kw_only=True)
class Restored:
    """Result of a restore. `former` is the folder with the previous local state, or None if there was no state."""

    host: str
    metadata: StateMetadata
    former: Path | None


def refusal(
    host: str, backup: StateMetadata, mine: StateMetadata | None, current: str, *, replace_newer: bool = False
) -> Refused | None:
    """Return why this backup must not replace the local state, or None if it may.

    `current` is the estate's instance. The local state of a lab that no longer exists may be replaced. A backup of such
    a lab is never restored.
    """
    if backup.instance != current:
        return Refused(
            f"{host}'s backup belongs to instance {backup.instance}, this estate is {current}",
            "restore only a backup of this estate; `./govcloud state list` shows the backup of each host",
        )
    if mine is None or mine.instance != current or replace_newer:
        return None
    kind = relation(backup, mine)
    if kind is Relation.OLDER:
        how = f"is newer than {host}'s backup ({backup.as_text()})"
    elif kind is Relation.FORKED:
        how = f"and {host}'s backup ({backup.as_text()}) have diverged"
    else:
        return None
    return Refused(
        f"the state here ({mine.as_text()}) {how}; a restore would lose the changes in it",
        "if the state here works, do nothing; to replace it anyway, add --replace-newer: it is set aside, not deleted",
    )


def matching_passphrase(backup: bytes) -> str | None:
    """Return this workstation's passphrase if it decrypts the backup.

    Return None if it does not, or if there is none.
    """
    try:
        text = state_files.passphrase_file().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if opens(backup, text) else None


def opens(backup: bytes, text: str) -> bool:
    """Return whether the passphrase decrypts every stack's state in the backup. This takes half a second per stack."""
    found = [json.loads(content) for name, content in _members(backup) if name.endswith(".json") and "/" in name]
    latest = [one.get("checkpoint", {}).get("latest") or {} for one in found]
    salts = {salt for one in latest if (salt := (one.get("secrets_providers") or {}).get("state", {}).get("salt"))}
    return all(passphrase.opens(text, salt) for salt in salts)


def restore(estate: Estate, host: str, metadata: StateMetadata, backup: bytes, text: str) -> Restored:
    """Replace the local state with the backup, and store the passphrase that decrypts it.

    Raise `Refused` if the passphrase is wrong. After an interruption at any point, the same call completes the restore.
    """
    if not opens(backup, text):
        raise Refused(
            f"the passphrase does not decrypt {host}'s backup of the state",
            "give the passphrase that was in use when the backup was made",
        )
    draft = state_files.state_home() / ".incoming"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        stacks = _write(backup, draft, stack_names(estate))
        former = _set_aside()
        (draft / ".pulumi").rename(state_files.state_home() / ".pulumi")
        for stack in stacks:
            if (draft / f"Pulumi.{stack}.yaml").exists():
                state_files.settings(stack).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                (draft / f"Pulumi.{stack}.yaml").replace(state_files.settings(stack))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    atomic_write.write(state_files.passphrase_file(), text.strip().encode() + b"\n")
    store.take(metadata.instance)
    state_backup.save_metadata(metadata)
    return Restored(host=host, metadata=metadata, former=former)


def _set_aside() -> Path | None:
    """Set aside the previous state with its passphrase. Return the folder, or None if there is no state."""
    if not (state_files.state_home() / ".pulumi").exists():
        return None
    former = store.set_aside("before-restore")
    if state_files.passphrase_file().exists():
        atomic_write.write(former / "passphrase", state_files.passphrase_file().read_bytes())
    return former


def _write(backup: bytes, folder: Path, known: tuple[str, ...]) -> list[str]:
    """Write the backup's files to `folder` in the backend's layout and return the stacks.

    Ignore files with other names.
    """
    stacks = []
    root = state_files.checkpoint("any").parent.relative_to(state_files.state_home())
    for name, content in _members(backup):
        stack, _, file = name.partition("/")
        if stack not in known or file not in (f"{stack}.json", f"Pulumi.{stack}.yaml"):
            continue
        target = folder / root / file if file == f"{stack}.json" else folder / file
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_write.write(target, content)
        stacks += [stack] if file == f"{stack}.json" else []
    if not stacks:
        raise GovcloudError("the backup contains no stack of this estate", "name another operations host")
    return stacks


def _members(backup: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(backup)) as archive:
        return [(one.name, content.read()) for one in archive.getmembers() if (content := archive.extractfile(one))]
