"""The way back of a lost state: from an operations host's copy, with the passphrase from the safe.

Everything is checked before anything is changed: whose the copy is, that nothing newer would be replaced, and that the
passphrase opens it. The new state is written whole beside the old one, which is then set aside, never deleted.
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
from workstation.errors import GovcloudError, Refused


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was done. `former` holds the state that was here before; None where there was none."""

    host: str
    metadata: StateMetadata
    former: Path | None


def refusal(
    host: str, backup: StateMetadata, mine: StateMetadata | None, current: str, *, replace_newer: bool = False
) -> Refused | None:
    """Why this copy may not take the place of the state here; None where it may.

    `current` is the estate's instance: state of a lab that is gone may be replaced, and is never brought back.
    """
    if backup.instance != current:
        return Refused(
            f"{host}'s copy is of instance {backup.instance}, this estate is {current}",
            "restore only what came from it; `./govcloud state list` shows who holds what",
        )
    if mine is None or mine.instance != current or replace_newer:
        return None
    kind = relation(backup, mine)
    if kind is Relation.OLDER:
        how = f"is newer than {host}'s copy ({backup.as_text()})"
    elif kind is Relation.FORKED:
        how = f"was changed apart from {host}'s copy ({backup.as_text()})"
    else:
        return None
    return Refused(
        f"the state here ({mine.as_text()}) {how}; restoring would lose what it knows",
        "nothing to do where it works; to replace it all the same, add --replace-newer: it is kept beside",
    )


def matching_passphrase(backup: bytes) -> str | None:
    """The passphrase of this workstation where it opens the copy; None where it does not, or there is none."""
    try:
        text = state_files.passphrase_file().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if opens(backup, text) else None


def opens(backup: bytes, text: str) -> bool:
    """Whether the passphrase opens every stack's state in the copy. Takes half a second for each."""
    found = [json.loads(content) for name, content in _members(backup) if name.endswith(".json") and "/" in name]
    latest = [one.get("checkpoint", {}).get("latest") or {} for one in found]
    salts = {salt for one in latest if (salt := (one.get("secrets_providers") or {}).get("state", {}).get("salt"))}
    return all(passphrase.opens(text, salt) for salt in salts)


def restore(estate: Estate, host: str, metadata: StateMetadata, backup: bytes, text: str) -> Restored:
    """Put the copy in the state's place, with the passphrase that opens it.

    Raises `Refused` where it does not. Interrupted anywhere, the same call goes on.
    """
    if not opens(backup, text):
        raise Refused(
            f"the passphrase does not open {host}'s copy of the state", "bring the one that was in use when it was made"
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
    state_files.write_atomically(state_files.passphrase_file(), text.strip().encode() + b"\n")
    store.take(metadata.instance)
    state_backup.save_metadata(metadata)
    return Restored(host=host, metadata=metadata, former=former)


def _set_aside() -> Path | None:
    """The former state with the passphrase that opens it; None where there is none."""
    if not (state_files.state_home() / ".pulumi").exists():
        return None
    former = store.set_aside("before-restore")
    if state_files.passphrase_file().exists():
        state_files.write_atomically(former / "passphrase", state_files.passphrase_file().read_bytes())
    return former


def _write(backup: bytes, folder: Path, known: tuple[str, ...]) -> list[str]:
    """The copy's files in `folder`, laid out as the backend wants them; answers the stacks. Other names are ignored."""
    stacks = []
    root = state_files.checkpoint("any").parent.relative_to(state_files.state_home())
    for name, content in _members(backup):
        stack, _, file = name.partition("/")
        if stack not in known or file not in (f"{stack}.json", f"Pulumi.{stack}.yaml"):
            continue
        target = folder / root / file if file == f"{stack}.json" else folder / file
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        state_files.write_atomically(target, content)
        stacks += [stack] if file == f"{stack}.json" else []
    if not stacks:
        raise GovcloudError("the copy holds no stack of this estate", "name another operations host")
    return stacks


def _members(backup: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(backup)) as archive:
        return [(one.name, content.read()) for one in archive.getmembers() if (content := archive.extractfile(one))]
