"""The install part of a role, as a hash. If a host stores the same hash, the role has nothing to install there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from workstation.errors import GovcloudError

ROLES = Path(__file__).resolve().parent / "roles"


class ArtifactMissing(GovcloudError):
    """A role needs a file that has not been built or downloaded."""


def role_names() -> tuple[str, ...]:
    """Return the names of all roles."""
    return tuple(sorted(path.parent.parent.name for path in ROLES.glob("*/tasks/install.yml")))


def defaults(role: str) -> dict[str, object]:
    """Return the role's own defaults, as written."""
    path = ROLES / role / "defaults" / "main.yml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def package_names(role: str) -> tuple[str, ...]:
    """Return the Debian packages that the role installs: `<role>_packages` of its defaults."""
    return tuple(_names(role, "packages"))


VERSION = "{version}"
"""Placeholder in an artifact's path for the version in the role's settings."""


def artifact_names(role: str, version: str = "") -> tuple[str, ...]:
    """Return the role's files or folders in the artifacts directory: `<role>_artifacts` of its defaults."""
    return tuple(name.replace(VERSION, version) for name in _names(role, "artifacts"))


def install_hash(role: str, artifacts_dir: Path, version: str = "") -> str:
    """Return the hash of the role's install tasks, defaults and artifacts. Raise `ArtifactMissing`."""
    total = hashlib.sha256()
    for name in ("tasks/install.yml", "defaults/main.yml"):
        path = ROLES / role / name
        total.update(path.read_bytes() if path.exists() else b"")
    for name in artifact_names(role, version):
        for path in _files(role, artifacts_dir / name):
            stat = path.stat()
            total.update(f"{path.relative_to(artifacts_dir)} {_content(path, stat.st_size, stat.st_mtime_ns)}".encode())
    return total.hexdigest()[:32]


def version_of(settings: Mapping[str, Any]) -> str:
    """Return the version in a role's settings, or "" if there is none."""
    return str(settings.get("version", ""))


@lru_cache(maxsize=1024)
def _content(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(role: str, path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(child for child in path.rglob("*") if child.is_file())
    if not path.exists():
        raise ArtifactMissing(
            f"role {role} installs {path}, which does not exist", "Run `govcloud setup`, which builds it."
        )
    return [path]


def _names(role: str, what: str) -> list[str]:
    value = defaults(role).get(f"{role}_{what}", [])
    if not isinstance(value, list):
        raise GovcloudError(f"playbooks/roles/{role}/defaults/main.yml: {role}_{what} is not a list")
    return [str(item) for item in value]
