"""The stacks' state: its resources, and which instance of the estate it belongs to.

State carries the ID of the estate's instance: a lab that was taken down and up again has another one, and the old
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
from workstation.errors import GovcloudError

LAB_RECORD = Path("/run/govcloud/lab.json")
"""Where a running lab says which one it is."""
KEPT = 20
"""Checkpoints, histories and engine logs that are kept of each stack."""

Say = Callable[[str], None]


def instance(estate: Estate) -> str:
    """ID of the estate's instance: a lab's own, or the estate's name.

    Raises `GovcloudError` where no lab is up.
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
    """Make the state that of instance `current`; what belongs to another is set aside."""
    was = owner()
    if was == current:
        return
    if was and (state_files.state_home() / ".pulumi").exists():
        say(f"the state belongs to instance {was}, which is gone; set aside in {set_aside(was)}")
    take(current)


def owner() -> str:
    """The instance whose state this is; empty where there is none yet."""
    path = state_files.state_home() / "instance"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def take(instance: str) -> None:
    """Mark the state as that of `instance`."""
    state_files.write_atomically(state_files.state_home() / "instance", f"{instance}\n".encode())


def changed_at(estate: Estate) -> datetime:
    """When the engine last wrote a stack's state; the beginning of time where it never did."""
    paths = [state_files.checkpoint(stack) for stack in stack_names(estate)]
    written = [path.stat().st_mtime for path in paths if path.exists()]
    return datetime.fromtimestamp(max(written, default=0.0), UTC)


def set_aside(name: str) -> Path:
    """Move the backend's and the stacks' files away, together; answers where to."""
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
    """The resources in the state, secrets still encrypted; empty where the stack does not exist.

    Raises `TruncatedCheckpoint` for half a file: taken for a new stack, it would get new passwords.
    """
    return list(checkpoints.latest(stack).get("resources") or [])


def pending(stack: str) -> list[str]:
    """Resources whose operation was begun and never ended, by name."""
    operations = checkpoints.latest(stack).get("pending_operations") or []
    return [str(operation["resource"]["urn"]).rsplit("::", 1)[-1] for operation in operations]


def prune() -> None:
    """Keep the newest `KEPT` of what the engine piles up."""
    root, logs = state_files.state_home() / ".pulumi", state_files.engine_home() / "pulumi" / "logs"
    for folder in (*root.glob("backups/*/*"), *root.glob("history/*/*")):
        _keep_newest(folder, KEPT * 4)
    _keep_newest(logs, KEPT)


def _keep_newest(folder: Path, number: int) -> None:
    if folder.is_dir():
        for old in sorted(folder.iterdir(), key=lambda path: path.name, reverse=True)[number:]:
            old.unlink(missing_ok=True)
