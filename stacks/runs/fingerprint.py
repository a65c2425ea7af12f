"""Detects stacks whose declaration has not changed since the last update. For them, an update only has to refresh.

$GOVCLOUD_HOME/engine/STACK/applied holds a fingerprint of all inputs of a program and of the engine: the checkout's
code, the estate, images, keys, and the checkpoints. A program depends only on these. So with the same fingerprint the
engine would find the same differences as a refresh. Certificates are the exception: they expire with time alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from playbooks import pki
from stacks.components.resources import CERTIFICATE
from stacks.phases import DATA, PLATFORM, WITHOUT_SECRETS
from stacks.programs import pod_images
from stacks.programs.context import Context
from stacks.state import state_files, store
from workstation import atomic_write, paths

CODE = ("contracts", "estate", "facts", "playbooks", "services", "stacks", "tools", "workstation")
"""Folders of the checkout that decide what is declared and how it is applied."""


def is_current(context: Context, stack: str) -> bool:
    """Whether nothing has changed since `save`.

    False if sites are excluded: a part of the stack was then not deployed.
    """
    if context.without or store.pending(stack) or _certificate_is_due(stack):
        return False
    try:
        return _file(stack).read_text(encoding="ascii") == fingerprint(context, stack)
    except OSError:
        return False


def save(context: Context, stack: str) -> None:
    """Record that the stack is completely deployed. `context` must be taken after the update."""
    if not context.without:
        atomic_write.write(_file(stack), fingerprint(context, stack).encode())


def invalidate(stack: str) -> None:
    """Delete the fingerprint before the stack is changed."""
    _file(stack).unlink(missing_ok=True)


def fingerprint(context: Context, stack: str) -> str:
    """Return the SHA-256 of all inputs, in hexadecimal."""
    secrets = () if stack in WITHOUT_SECRETS else (context.secrets_exist, _digest(state_files.checkpoint(DATA)))
    declared = {
        "estate": context.estate.model_dump(mode="json"),
        "instance": context.instance,
        "operator_keys": context.operator_keys,
        "first_build": context.first_build,
        "built": sorted(context.built),
        "secrets": secrets,
        "images": pod_images.as_plain(image for _, image in sorted(context.images.items())),
        # Only the platform uses clusters. Sites deploy in parallel, so another site's cluster may start meanwhile.
        "clusters": sorted(context.clusters) if stack == PLATFORM else [],
    }
    total = hashlib.sha256(json.dumps(declared, sort_keys=True).encode())
    for path in _files(stack):
        total.update(f"\0{path}\0{_digest(path)}".encode())
    return total.hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _files(stack: str) -> Iterator[Path]:
    """Yield the files of the code, our providers' executables, the stack's settings and its state."""
    for folder in CODE:
        found = (path for path in (paths.repo() / folder).rglob("*") if "__pycache__" not in path.parts)
        yield from sorted(path for path in found if path.is_file())
    yield from sorted((state_files.engine_home() / "bin").iterdir())
    yield state_files.settings(stack)
    yield state_files.checkpoint(stack)


def _certificate_is_due(stack: str) -> bool:
    issued = (one["outputs"] for one in store.resources(stack) if one.get("type") == CERTIFICATE and one.get("outputs"))
    return any(pki.due(outputs["cert"]) for outputs in issued)


def _file(stack: str) -> Path:
    return state_files.engine_home() / stack / "applied"
