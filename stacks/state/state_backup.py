"""Backups of the state on the operations hosts: list them, write one, fetch one.

The code asks the hosts which backup they hold. It never relies on a local record that one was sent. Secrets in a backup
stay encrypted, and the passphrase is never sent with it.
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from estate.addressing import plan as address_plan
from estate.model import Estate, Host, HostRole
from stacks.phases import stack_names
from stacks.state import checkpoints, state_files, store
from stacks.state.lineage import Relation, StateMetadata, refusal_if_behind, relation
from workstation import atomic_write, ssh
from workstation.errors import GovcloudError

FOLDER = "/var/lib/govcloud/state"
"""Folder of the backup on an operations host, readable by root only."""
TIMEOUT_S = 20.0
METADATA_FILE = "about.json"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class HostBackup:
    """The backup on one operations host. `metadata` is None if the host holds none or was not reached."""

    host: str
    reached: bool
    metadata: StateMetadata | None = None


def local_metadata(estate: Estate) -> StateMetadata | None:
    """Return the metadata of the local state, or None if there is no state.

    A stack with a truncated file counts as lost.
    """
    numbers = {
        stack: len(store.resources(stack))
        for stack in stack_names(estate)
        if state_files.checkpoint(stack).exists() and checkpoints.is_intact(stack)
    }
    if not numbers:
        return None
    last, digest = _last_metadata(), _digest(estate)
    if last and last.digest == digest and last.instance == store.owner():
        return last
    return StateMetadata(
        instance=store.owner(),
        serial=(last.serial if last else 0) + 1,
        digest=digest,
        at=store.changed_at(estate).strftime("%Y-%m-%d %H:%M:%S UTC"),
        workstation=socket.gethostname(),
        resources=numbers,
        copied=False,
    )


def survey_hosts(estate: Estate, access: ssh.Access, without: Iterable[str] = ()) -> tuple[HostBackup, ...]:
    """Ask each operations host for its backup, except at the sites in `without`."""
    dead = set(without)
    hosts = [host for host in estate.managed_hosts if host.kind is HostRole.OPS and host.at not in dead]
    return tuple(ssh.on_each(hosts, lambda host: _ask(estate, access, host)))


def refuse_if_behind(estate: Estate, access: ssh.Access, without: Iterable[str] = ()) -> None:
    """Raise `Refused` if an operations host holds a state that this workstation lacks.

    A change from here would replace keys and passwords that are in use, or undo a change from another workstation.
    """
    mine = local_metadata(estate)
    current = store.instance(estate)
    for found in survey_hosts(estate, access, without):
        if found.metadata is None or found.metadata.instance != current:
            continue
        if reason := refusal_if_behind(found.host, found.metadata, mine):
            raise reason


def back_up(
    estate: Estate, access: ssh.Access, say: Say, without: Iterable[str] = (), *, replace_newer: bool = False
) -> tuple[str, ...]:
    """Back up the state to every reachable operations host that lacks it. Return the hosts that now hold the backup.

    A newer backup is reported and left unchanged, unless `replace_newer`. Raise `TruncatedCheckpoint` before an
    incomplete file could replace a backup.
    """
    checkpoints.require_intact(stack_names(estate))
    mine = local_metadata(estate)
    if mine is None:
        return ()
    hosts = survey_hosts(estate, access, without)
    newer = {
        found.host: found.metadata.serial
        for found in hosts
        if found.metadata and refusal_if_behind(found.host, found.metadata, mine)
    }
    if replace_newer and newer:
        mine, newer = replace(mine, serial=max(newer.values()) + 1), {}
    for found in hosts:
        if not found.reached:
            say(f"{found.host}: not reached, so it does not get a backup of the newest state")
        elif found.host in newer:
            say(f"{found.host}: holds a state that this workstation lacks; that backup is not replaced")
    save_metadata(mine)  # before sending: after a kill in between, this workstation still recognises its own backups
    able = [found for found in hosts if found.reached and found.host not in newer]
    lacking = [
        found.host for found in able if not found.metadata or relation(found.metadata, mine) is not Relation.SAME
    ]
    failed = _send_to_all(estate, access, lacking, replace(mine, copied=True))
    for host, reason in failed.items():
        say(f"{host}: the backup of the state was not written: {reason}")
    holders = tuple(found.host for found in able if found.host not in failed)
    if holders:
        save_metadata(replace(mine, copied=True))
    return holders


def fetch(estate: Estate, access: ssh.Access, host_name: str) -> tuple[StateMetadata, bytes]:
    """Return a host's backup with its metadata.

    Raise `GovcloudError` if the host is unreachable or has no readable backup.
    """
    address = _address(estate, estate.host(host_name))
    done = ssh.run(access, address, ["cat", f"{FOLDER}/state.tar"], timeout_s=TIMEOUT_S)
    metadata = metadata_of(done.stdout) if done.returncode == 0 else None
    if metadata is None:
        raise GovcloudError(
            f"{host_name} holds no backup of the state that can be read",
            "`./govcloud state list` shows which hosts hold a backup",
        )
    return metadata, done.stdout


def metadata_of(backup: bytes) -> StateMetadata | None:
    """Return the metadata inside the backup, or None if the backup is damaged."""
    try:
        with tarfile.open(fileobj=io.BytesIO(backup)) as archive:
            content = archive.extractfile(METADATA_FILE)
            return StateMetadata.from_json(content.read()) if content else None
    except (tarfile.TarError, KeyError):
        return None


def pack(estate: Estate, metadata: StateMetadata) -> bytes:
    """Return the backup: a tar archive of the metadata, all checkpoints and all stack settings.

    Secrets stay encrypted.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        content = json.dumps(metadata.as_json()).encode()
        header = tarfile.TarInfo(METADATA_FILE)
        header.size, header.mode = len(content), 0o600
        archive.addfile(header, io.BytesIO(content))
        for stack in stack_names(estate):
            for path in (state_files.checkpoint(stack), state_files.settings(stack)):
                if path.exists():
                    archive.add(path, f"{stack}/{path.name}")
    return stream.getvalue()


def summary(found: Sequence[HostBackup], mine: StateMetadata | None, current: str) -> list[dict[str, Any]]:
    """Return one row per host, for the operator and for `--json`."""
    rows: list[dict[str, Any]] = []
    for one in found:
        if not one.metadata:
            backup = "holds none" if one.reached else "not reached"
        elif one.metadata.instance != current:
            backup = Relation.FOREIGN
        else:
            backup = relation(one.metadata, mine)
        details = {"text": one.metadata.as_text(), "state": one.metadata.as_json()} if one.metadata else {}
        rows.append({"host": one.host, "copy": str(backup), **details})
    return rows


def _ask(estate: Estate, access: ssh.Access, host: Host) -> HostBackup:
    argv = ["tar", "-xOf", f"{FOLDER}/state.tar", METADATA_FILE]
    try:
        done = ssh.run(access, _address(estate, host), argv, timeout_s=TIMEOUT_S)
    except ssh.HostUnreachable:
        return HostBackup(host=host.name, reached=False)
    return HostBackup(
        host=host.name, reached=True, metadata=None if done.returncode else StateMetadata.from_json(done.stdout)
    )


def _send_to_all(estate: Estate, access: ssh.Access, hosts: Sequence[str], metadata: StateMetadata) -> dict[str, str]:
    """Send the backup to the hosts. Return the error by host, for the hosts on which it failed."""
    bundle = pack(estate, metadata) if hosts else b""
    reasons = ssh.on_each(hosts, lambda host: _send(estate, access, host, bundle))
    return {host: reason for host, reason in zip(hosts, reasons, strict=True) if reason}


def _send(estate: Estate, access: ssh.Access, host_name: str, bundle: bytes) -> str:
    """Write the backup on one host. Return the error, or "" on success.

    The previous backup stays until the new one is synced to the disk.
    """
    new = f"{FOLDER}/.new"
    script = f"umask 077 && mkdir -p {FOLDER} && cat > {new} && sync {new} && mv {new} {FOLDER}/state.tar"
    address = _address(estate, estate.host(host_name))
    try:
        done = ssh.run(access, address, ["sh", "-c", script], stdin=bundle, timeout_s=TIMEOUT_S)
    except ssh.HostUnreachable as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}"


def _digest(estate: Estate) -> str:
    """Return a digest of the resources, independent of their order.

    Each run encrypts all secrets again, so ciphertexts are ignored. A new secret shows only in the field `modified`.
    """
    total = hashlib.sha256()
    for stack in filter(checkpoints.is_intact, stack_names(estate)):
        for resource in sorted(store.resources(stack), key=lambda resource: str(resource["urn"])):
            total.update(json.dumps(_without_ciphertext(resource), sort_keys=True).encode())
    return total.hexdigest()


def _without_ciphertext(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ciphertext(item) for key, item in value.items() if key != "ciphertext"}
    return [_without_ciphertext(item) for item in value] if isinstance(value, list) else value


def _last_metadata() -> StateMetadata | None:
    try:
        return StateMetadata.from_json((state_files.state_home() / "copied.json").read_bytes())
    except OSError:
        return None


def save_metadata(metadata: StateMetadata) -> None:
    """Record that the local state is this one. The next different state gets the next serial."""
    atomic_write.write(state_files.state_home() / "copied.json", json.dumps(metadata.as_json()).encode())


def _address(estate: Estate, host: Host) -> str:
    return str(address_plan(estate).management(host.name))
