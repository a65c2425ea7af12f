"""The stacks' state: its resources, and the instance of the estate that it belongs to.

The state records the ID of the estate's instance. A lab that was removed and started again has another ID. Then the old
lab's state is set aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from estate.model import Estate
from stacks.phases import stack_names
from stacks.state import checkpoints, state_files
from workstation import atomic_write
from workstation.errors import GovcloudError

LAB_RECORD = Path("/run/govcloud/lab.json")
"""File in which a running lab records its ID."""
MAX_HISTORY = 20
"""How many checkpoints, histories and engine logs are kept of each stack."""

Say = Callable[[str], None]


def instance(estate: Estate) -> str:
    """Return the ID of the estate's instance: the lab's ID, or the estate's name if it is no lab.

    Raise `GovcloudError` if the estate is a lab and no lab runs.
    """
    if not estate.lab:
        return estate.name
    try:
        return str(json.loads(LAB_RECORD.read_text(encoding="utf-8"))["instance"])
    except (OSError, ValueError, KeyError):
        raise GovcloudError(
            "no lab is up, so there is no estate to deploy to", "run `./govcloud lab up` first"
        ) from None


def claim(current: str, say: Say) -> None:
    """Assign the state to instance `current`. Set aside a state that belongs to another instance."""
    was = owner()
    if was == current:
        return
    if was and (state_files.state_home() / ".pulumi").exists():
        say(f"the state belonged to instance {was}, which no longer exists; it was moved to {set_aside(was)}")
    take(current)


def owner() -> str:
    """Return the instance that the state belongs to, or "" if there is no state yet."""
    path = state_files.state_home() / "instance"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def take(instance: str) -> None:
    """Record that the state belongs to `instance`."""
    atomic_write.write(state_files.state_home() / "instance", f"{instance}\n".encode())


def changed_at(estate: Estate) -> datetime:
    """Return when the engine last wrote a stack's state, or the epoch (1970) if it never did."""
    paths = [state_files.checkpoint(stack) for stack in stack_names(estate)]
    written = [path.stat().st_mtime for path in paths if path.exists()]
    return datetime.fromtimestamp(max(written, default=0.0), UTC)


def set_aside(name: str) -> Path:
    """Move the backend's files and the stacks' settings to a new folder, together. Return the folder."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = state_files.state_home() / "set-aside" / f"{name}-{stamp}"
    target.mkdir(parents=True, mode=0o700)
    backend = state_files.state_home() / ".pulumi"
    if backend.exists():
        backend.rename(target / ".pulumi")
    for settings in state_files.engine_home().glob("*/Pulumi.*.yaml"):
        settings.rename(target / settings.name)
    (state_files.state_home() / "copied.json").unlink(missing_ok=True)
    return target


def resources(stack: str) -> list[dict[str, Any]]:
    """Return the resources in the state, with encrypted secrets. The list is empty if the stack does not exist.

    Raise `TruncatedCheckpoint` for an incomplete file: a run that took it for a new stack would make new passwords.
    """
    return list(checkpoints.latest(stack).get("resources") or [])


def pending(stack: str) -> list[str]:
    """Return the names of resources with an operation that started and never ended."""
    operations = checkpoints.latest(stack).get("pending_operations") or []
    return [str(operation["resource"]["urn"]).rsplit("::", 1)[-1] for operation in operations]


def prune() -> None:
    """Delete the engine's oldest backups, histories and logs. The newest `MAX_HISTORY` stay."""
    root, logs = state_files.state_home() / ".pulumi", state_files.engine_home() / "pulumi" / "logs"
    for folder in (*root.glob("backups/*/*"), *root.glob("history/*/*")):
        _keep_newest(folder, MAX_HISTORY * 4)
    _keep_newest(logs, MAX_HISTORY)


def _keep_newest(folder: Path, number: int) -> None:
    if folder.is_dir():
        for old in sorted(folder.iterdir(), key=lambda path: path.name, reverse=True)[number:]:
            old.unlink(missing_ok=True)
