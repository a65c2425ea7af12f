"""The stacks' state: whose it is, repair after a killed run, copies on the operations hosts and the way back.

State carries the ID of the estate's instance: a lab that was taken down and up again has another one, and the old
lab's state is set aside. Copies go encrypted to every reachable operations host; the passphrase never goes with them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi.automation import Deployment

from estate.addressing import plan as address_plan
from estate.model import Estate, Host, Kind
from stacks import workspace
from stacks.programs import DATA, Context, stack_names
from workstation import ssh
from workstation.errors import GovcloudError, Refused

LAB_RECORD = Path("/run/govcloud/lab.json")
"""Where a running lab says which one it is."""
COPIES = "/var/lib/govcloud/state"
"""Folder of the copies on an operations host, readable by root only."""
COPY_TIMEOUT_S = 20.0
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


def context(estate: Estate, stack: str, without: Iterable[str]) -> Context:
    """What the stack's program is run with, as the state is now."""
    return Context(
        estate=estate,
        plan=address_plan(estate),
        instance=instance(estate),
        operator_keys=operator_keys(),
        without=frozenset(without),
        first_build=not resources(stack),
        built=frozenset(
            str(one["id"]) for one in resources(stack) if one.get("type") == "govcloud:index:Playbook" and one.get("id")
        ),
        secrets_exist=bool(resources(DATA)),
    )


def operator_keys() -> tuple[str, ...]:
    """The public half of the key with which the operator enters hosts. Raises `GovcloudError` where there is none."""
    path = ssh.Access.default().key.with_suffix(".pub")
    try:
        return (path.read_text(encoding="ascii").strip(),)
    except OSError:
        raise GovcloudError(f"{path} is missing, so the hosts would be closed to the operator", "restore it") from None


def claim(current: str, say: Say) -> None:
    """Make the state that of instance `current`; what belongs to another is set aside."""
    path = workspace.state_home() / "instance"
    was = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if was == current:
        return
    if was and (workspace.state_home() / ".pulumi").exists():
        say(f"the state belongs to instance {was}, which is gone; set aside in {set_aside(was)}")
    path.write_text(current + "\n", encoding="utf-8")


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
    """The resources in the state, secrets still encrypted; empty where the stack does not exist."""
    return list(_latest(stack).get("resources") or [])


def pending(stack: str) -> list[str]:
    """Resources whose operation was begun and never ended, by name."""
    operations = _latest(stack).get("pending_operations") or []
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


def _latest(stack: str) -> dict[str, Any]:
    try:
        content = json.loads(workspace.checkpoint(stack).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(content.get("checkpoint", {}).get("latest") or {})


def copy_out(estate: Estate, access: ssh.Access, say: Say, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Copy the state to every reachable operations host that lacks it; answers the hosts that now hold it."""
    digest = _digest(estate)
    record = workspace.state_home() / "copied.json"
    copied = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    hosts = [host for host in estate.own_hosts if host.kind is Kind.OPS and host.at not in set(without)]
    missing = [host for host in hosts if copied.get(host.name) != digest]
    bundle = pack(estate) if missing else b""
    for host, reached in zip(
        missing, ssh.on_each(missing, lambda host: _send(estate, access, host, bundle)), strict=True
    ):
        if reached:
            copied[host.name] = digest
        else:
            say(f"{host.name}: not reached, so it holds no copy of the newest state")
    record.write_text(json.dumps(copied), encoding="utf-8")
    return tuple(host.name for host in hosts if copied.get(host.name) == digest)


def copy_back(estate: Estate, access: ssh.Access, host_name: str) -> Path:
    """Restore the state from a host's copy; what was there is set aside, and its place answered.

    Raises `GovcloudError` where there is no copy, `Refused` where it is of another instance or the passphrase is gone.
    """
    if not (workspace.engine_home() / "passphrase").exists():
        raise Refused(
            "the passphrase is not here, so a copy of the state could not be opened",
            f"bring {workspace.engine_home()}/passphrase back first",
        )
    address = _address(estate, estate.host(host_name))
    done = ssh.run(access, address, ["cat", f"{COPIES}/state.tar"], timeout_s=COPY_TIMEOUT_S)
    if done.returncode:
        raise GovcloudError(f"{host_name} holds no copy of the state", "name another operations host")
    return unpack(estate, done.stdout, host_name)


def unpack(estate: Estate, copy: bytes, origin: str) -> Path:
    """Put a copy in the state's place; answers where the former state was set aside.

    Raises `Refused` where the copy is of another instance.
    """
    with tarfile.open(fileobj=io.BytesIO(copy)) as archive:
        marker = archive.extractfile("instance")
        found, here = (marker.read().decode().strip() if marker else ""), instance(estate)
        if found != here:
            raise Refused(
                f"{origin}'s copy is of instance {found}, this one is {here}", "restore only what came from it"
            )
        old = set_aside("before-restore")
        for member in archive.getmembers():
            _place(member, archive)
    return old


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


def _digest(estate: Estate) -> str:
    """Of the resources only: every run changes the file's times."""
    total = hashlib.sha256()
    for stack in stack_names(estate):
        for resource in resources(stack):
            total.update(
                json.dumps(
                    {k: v for k, v in resource.items() if k not in ("created", "modified")}, sort_keys=True
                ).encode()
            )
    return total.hexdigest()


def pack(estate: Estate) -> bytes:
    """The copy: a tar archive of all checkpoints and stack settings, secrets still encrypted, and whose they are."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(workspace.state_home() / "instance", "instance")
        for stack in stack_names(estate):
            for path in (workspace.checkpoint(stack), workspace.engine_home() / stack / f"Pulumi.{stack}.yaml"):
                if path.exists():
                    archive.add(path, f"{stack}/{path.name}")
    return stream.getvalue()


def _place(member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
    stack, _, name = member.name.partition("/")
    content = archive.extractfile(member)
    if not name or content is None or name not in (f"{stack}.json", f"Pulumi.{stack}.yaml"):
        return
    target = workspace.checkpoint(stack) if name == f"{stack}.json" else workspace.engine_home() / stack / name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.write_bytes(content.read())
    target.chmod(0o600)


def _send(estate: Estate, access: ssh.Access, host: Host, bundle: bytes) -> bool:
    new = f"{COPIES}/.new"
    script = f"umask 077 && mkdir -p {COPIES} && cat > {new} && sync {new} && mv {new} {COPIES}/state.tar"
    try:
        return (
            ssh.run(
                access, _address(estate, host), ["sh", "-c", script], stdin=bundle, timeout_s=COPY_TIMEOUT_S
            ).returncode
            == 0
        )
    except ssh.HostUnreachable:
        return False


def _address(estate: Estate, host: Host) -> str:
    return str(host.platform.address or address_plan(estate).management(host.name))
