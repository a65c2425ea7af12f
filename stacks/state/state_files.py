"""Paths of the state and of the engine's files on the operator's machine.

$GOVCLOUD_HOME/state             the file backend, one checkpoint per stack, secrets encrypted
$GOVCLOUD_HOME/engine/passphrase decrypts the secrets; mode 0600, made once, stays on the operator's side
$GOVCLOUD_HOME/engine/STACK      project and stack settings, which Pulumi would otherwise write into the source tree
"""

from __future__ import annotations

from pathlib import Path

from workstation import paths

PROJECT = "govcloud"


def state_home() -> Path:
    """Folder of the file backend."""
    return paths.home() / "state"


def engine_home() -> Path:
    """Folder of the engine."""
    return paths.home() / "engine"


def checkpoint(stack: str) -> Path:
    """Path of the backend's file with a stack's state."""
    return state_home() / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def settings(stack: str) -> Path:
    """Path of a stack's settings, outside the source tree."""
    return engine_home() / stack / f"Pulumi.{stack}.yaml"


def passphrase_file() -> Path:
    """Path from which the engine reads the passphrase."""
    return engine_home() / "passphrase"
