"""Whether a stack would be declared again just as it was applied last: then an update only has to read what is there.

$GOVCLOUD_HOME/engine/STACK/applied holds a fingerprint of all that decides what a program declares and what the engine
makes of it: the checkout's code, the estate, images, keys, and the checkpoints that it left. A program is a function of
these, so with the same fingerprint the engine would find nothing but what a read finds. Certificates are the exception:
they differ from their declaration with time alone.
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
from workstation import paths

CODE = ("estate", "playbooks", "services", "stacks", "tools", "workstation")
"""Folders of the checkout that decide what is declared and how it is applied."""


def is_current(context: Context, stack: str) -> bool:
    """Whether nothing has changed since `note`. Never where sites are left out: there a part was not brought up."""
    if context.without or store.pending(stack) or _certificate_is_due(stack):
        return False
    try:
        return _file(stack).read_text(encoding="ascii") == fingerprint(context, stack)
    except OSError:
        return False


def save(context: Context, stack: str) -> None:
    """The stack has been brought up completely, as `context`, taken afterwards, would declare it again."""
    if not context.without:
        state_files.write_atomically(_file(stack), fingerprint(context, stack).encode())


def invalidate(stack: str) -> None:
    """The stack is about to be changed."""
    _file(stack).unlink(missing_ok=True)


def fingerprint(context: Context, stack: str) -> str:
    """SHA-256, in hexadecimal."""
    secrets = () if stack in WITHOUT_SECRETS else (context.secrets_exist, _digest(state_files.checkpoint(DATA)))
    declared = {
        "estate": context.estate.model_dump(mode="json"),
        "instance": context.instance,
        "operator_keys": context.operator_keys,
        "first_build": context.first_build,
        "built": sorted(context.built),
        "secrets": secrets,
        "images": pod_images.as_plain(image for _, image in sorted(context.images.items())),
        # Asked for by the platform alone. The sites' stacks, side by side, bring clusters up while others are noted.
        "clusters": sorted(context.clusters) if stack == PLATFORM else [],
    }
    total = hashlib.sha256(json.dumps(declared, sort_keys=True).encode())
    for path in _files(stack):
        total.update(f"\0{path}\0{_digest(path)}".encode())
    return total.hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _files(stack: str) -> Iterator[Path]:
    """Code, our providers' executables, the stack's settings and its state."""
    for folder in CODE:
        found = (path for path in (paths.repo() / folder).rglob("*") if "__pycache__" not in path.parts)
        yield from sorted(path for path in found if path.is_file())
    yield from sorted((state_files.engine_home() / "bin").iterdir())
    yield state_files.settings(stack)
    yield state_files.checkpoint(stack)


def _certificate_is_due(stack: str) -> bool:
    held = (one["outputs"] for one in store.resources(stack) if one.get("type") == CERTIFICATE and one.get("outputs"))
    return any(pki.due(outputs["cert"]) for outputs in held)


def _file(stack: str) -> Path:
    return state_files.engine_home() / stack / "applied"
