"""The stacks' state: whose it is, and repair after a killed run.

State carries the ID of the estate's instance: a lab that was taken down and up again has another one, and the old
lab's state is set aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi.automation import Deployment

from estate.addressing import plan as address_plan
from estate.model import Estate
from stacks.components.resources import KUBERNETES, PLAYBOOK, site_of
from stacks.programs.programs import DATA, PLATFORM, Context, stack_names
from stacks.runs import workspace
from stacks.state import checkpoints
from workstation import ssh
from workstation.errors import GovcloudError
from workstation.oci import Image

LAB_RECORD = Path("/run/govcloud/lab.json")
"""Where a running lab says which one it is."""
CONTROL_PLANE = "kubernetes_control_plane"
"""The role that makes a host the head of a Kubernetes cluster."""
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


def context(estate: Estate, stack: str, without: Iterable[str], images: Iterable[Image] = ()) -> Context:
    """What the stack's program is run with, as the state is now."""
    return Context(
        estate=estate,
        plan=address_plan(estate),
        instance=instance(estate),
        operator_keys=operator_keys(),
        without=frozenset(without),
        first_build=not resources(stack),
        built=_with_pods() if stack == PLATFORM else frozenset(str(one["id"]) for one in _playbooks(stack)),
        secrets_exist=bool(resources(DATA)),
        images={image.name: image for image in images},
        clusters=frozenset(cluster.site for cluster in estate.clusters if _has_control_plane(cluster.site)),
    )


def _playbooks(stack: str) -> list[dict[str, Any]]:
    return [one for one in resources(stack) if one.get("type") == PLAYBOOK and one.get("id")]


def _has_control_plane(site: str) -> bool:
    """Whether the site's stack has brought one up: its role is among those that were applied."""
    roles = (role for one in _playbooks(site) for role in (one.get("outputs") or {}).get("roles") or ())
    return any(role.get("role") == CONTROL_PLANE for role in roles)


def _with_pods() -> frozenset[str]:
    """Sites on whose clusters the platform has put something."""
    objects = (one for one in resources(PLATFORM) if str(one.get("type")).startswith(KUBERNETES))
    return frozenset(site for one in objects if (site := site_of(str(one["urn"]))))


def operator_keys() -> tuple[str, ...]:
    """The public half of the key with which the operator enters hosts. Raises `GovcloudError` where there is none."""
    path = ssh.Access.default().key.with_suffix(".pub")
    try:
        return (path.read_text(encoding="ascii").strip(),)
    except OSError:
        raise GovcloudError(f"{path} is missing, so the hosts would be closed to the operator", "restore it") from None


def claim(current: str, say: Say) -> None:
    """Make the state that of instance `current`; what belongs to another is set aside."""
    was = owner()
    if was == current:
        return
    if was and (workspace.state_home() / ".pulumi").exists():
        say(f"the state belongs to instance {was}, which is gone; set aside in {set_aside(was)}")
    take(current)


def owner() -> str:
    """The instance whose state this is; empty where there is none yet."""
    path = workspace.state_home() / "instance"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def take(instance: str) -> None:
    """Mark the state as that of `instance`."""
    workspace.write_whole(workspace.state_home() / "instance", f"{instance}\n".encode())


def changed_at(estate: Estate) -> datetime:
    """When the engine last wrote a stack's state; the beginning of time where it never did."""
    written = [path.stat().st_mtime for stack in stack_names(estate) if (path := workspace.checkpoint(stack)).exists()]
    return datetime.fromtimestamp(max(written, default=0.0), UTC)


def set_aside(name: str) -> Path:
    """Move the backend's and the stacks' files away, together; answers where to."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = workspace.state_home() / "set-aside" / f"{name}-{stamp}"
    target.mkdir(parents=True, mode=0o700)
    backend = workspace.state_home() / ".pulumi"
    if backend.exists():
        backend.rename(target / ".pulumi")
    for settings in workspace.engine_home().glob("*/Pulumi.*.yaml"):
        settings.rename(target / settings.name)
    (workspace.state_home() / "copied.json").unlink(missing_ok=True)
    return target


def resources(stack: str) -> list[dict[str, Any]]:
    """The resources in the state, secrets still encrypted; empty where the stack does not exist.

    Raises `NotWhole` for half a file: taken for a new stack, it would get new passwords.
    """
    return list(checkpoints.latest(stack).get("resources") or [])


def pending(stack: str) -> list[str]:
    """Resources whose operation was begun and never ended, by name."""
    operations = checkpoints.latest(stack).get("pending_operations") or []
    return [str(operation["resource"]["urn"]).rsplit("::", 1)[-1] for operation in operations]


def repair(stack: str, say: Say) -> None:
    """Drop operations that a killed run left open: every operation of our resources may be done again."""
    names = pending(stack)
    if not names:
        return
    say(f"{stack}: {', '.join(names)} was interrupted; it is compared and done again")
    opened = workspace.open_stack(stack)
    exported = opened.export_stack()
    deployment = {**(exported.deployment or {}), "pending_operations": []}
    opened.import_stack(Deployment(version=exported.version, deployment=deployment))


def forget(stack: str) -> None:
    """Drop all resources from the stack's state; nothing is done to any of them."""
    if not resources(stack):
        return
    opened = workspace.open_stack(stack)
    exported = opened.export_stack()
    deployment = {**(exported.deployment or {}), "resources": [], "pending_operations": []}
    opened.import_stack(Deployment(version=exported.version, deployment=deployment))


def prune() -> None:
    """Keep the newest `KEPT` of what the engine piles up."""
    root, logs = workspace.state_home() / ".pulumi", workspace.engine_home() / "pulumi" / "logs"
    for folder in (*root.glob("backups/*/*"), *root.glob("history/*/*")):
        _keep_newest(folder, KEPT * 4)
    _keep_newest(logs, KEPT)


def _keep_newest(folder: Path, number: int) -> None:
    if folder.is_dir():
        for old in sorted(folder.iterdir(), key=lambda path: path.name, reverse=True)[number:]:
            old.unlink(missing_ok=True)
