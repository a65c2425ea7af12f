"""The wheelhouse: what Python programs on the machines are installed from, since these reach no package index.

Wheels are chosen for the image's Python, not the operator's, and checked against the hashes of the locks.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tools import command, digest
from workstation import paths

IMAGE_PYTHON = "3.11"
"""Debian 12's."""

SETS = ("patroni", "approval")


def lock(name: str) -> Path:
    """The locked requirements of one program."""
    return paths.repo() / "tools" / "image" / f"requirements-{name}.lock"


def folder() -> Path:
    """Flat, for `pip install --no-index --find-links`, with the locks beside the wheels."""
    return paths.cache() / "artifacts" / "wheels"


def services() -> tuple[Path, ...]:
    """Our own programs that run on machines, a folder each."""
    return tuple(sorted(path.parent for path in (paths.repo() / "services").glob("*/pyproject.toml")))


def key() -> str:
    """Changes with the locks, the machine's architecture and the services' own sources."""
    sources = [path for service in services() for path in (service / "pyproject.toml", service / "src") if path.exists()]
    return digest.of([lock(name) for name in SETS], platform.machine(), sources)


def ready() -> bool:
    """Whether the wheelhouse is the one that is wanted."""
    stamp = _stamp()
    return folder().is_dir() and stamp.exists() and stamp.read_text() == key()


def fetch(on_progress: Callable[[str], None]) -> None:
    """Fill a new wheelhouse and put it in place of the old one; what is in the old one is not fetched again."""
    wanted, fresh = key(), folder().with_name(".wheels.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in SETS:
        on_progress(f"wheels of {name}")
        _download(lock(name), fresh)
        shutil.copy(lock(name), fresh)
    for archive in sorted(fresh.glob("*.tar.gz")):
        on_progress(f"building {archive.name}, published as source only")
        _wheel(str(archive), fresh)
        archive.unlink()
    for service in services():
        on_progress(f"building {service.name}")
        _wheel(str(service), fresh)
    shutil.rmtree(folder(), ignore_errors=True)
    fresh.rename(folder())
    _stamp().write_text(wanted)


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", *arguments, "-q", "--no-deps", "--disable-pip-version-check"]


def _download(requirements: Path, into: Path) -> None:
    tags = [f"{tag}_{platform.machine()}" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    argv = _pip("download", "--require-hashes", "--implementation", "cp", "--python-version", IMAGE_PYTHON)
    argv += ["--abi", f"cp{IMAGE_PYTHON.replace('.', '')}", *(word for tag in tags for word in ("--platform", tag))]
    if folder().is_dir():
        argv += ["--find-links", str(folder())]
    command.run([*argv, "-d", str(into), "-r", str(requirements)], failure="Python packages for the machines could not be fetched")


def _wheel(source: str, into: Path) -> None:
    argv = _pip("wheel", "--no-build-isolation", "--no-index", "-w", str(into), source)
    command.run(argv, failure=f"the wheel of {Path(source).name} could not be built")


def _stamp() -> Path:
    return folder().with_name(".wheels.key")
