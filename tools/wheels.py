"""The wheelhouse: wheels for the Python programs on the machines, which cannot reach a package index.

The wheels are for the image's Python, not the operator's, and are checked against the hashes of the locks.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tools import command, hashing
from workstation import paths

IMAGE_PYTHON = "3.11"
"""Version of Debian 12."""

PATRONI = "patroni"


def locks() -> dict[str, Path]:
    """Return the lock files of the programs' requirements: of Patroni, and of each of our own programs."""
    own = {service.name: service / "requirements.lock" for service in services()}
    return {PATRONI: paths.repo() / "tools" / "image" / f"requirements-{PATRONI}.lock", **own}


def folder() -> Path:
    """Return the flat folder of wheels and locks, for `pip install --no-index --find-links`."""
    return paths.cache() / "artifacts" / "wheels"


def services() -> tuple[Path, ...]:
    """Return the folders of our own programs that run on machines."""
    return tuple(sorted(path.parent for path in (paths.repo() / "services").glob("*/pyproject.toml")))


def key() -> str:
    """Return a key that covers the fetched wheels and the services' own sources."""
    sources = [service / name for service in services() for name in ("pyproject.toml", "src")]
    return hashing.hash_of(_fetched_key(), [source for source in sources if source.exists()])


def ready() -> bool:
    """Return whether the wheelhouse is the wanted one."""
    return _is_complete(folder(), key())


def fetch(on_progress: Callable[[str], None]) -> None:
    """Fetch the locked wheels if they are missing, build our own services, and replace the wheelhouse at once."""
    fetched, fresh, wanted = _fetched(), folder().with_name(".wheels.new"), key()
    if not _is_complete(fetched, _fetched_key()):
        _fetch(fetched, on_progress)
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(fetched, fresh, copy_function=os.link)
    for service in services():
        on_progress(f"building {service.name}")
        _wheel(str(service), fresh)
    _put(fresh, folder(), wanted)


def _fetched_key() -> str:
    return hashing.hash_of(locks().values(), platform.machine(), IMAGE_PYTHON)


def _fetched() -> Path:
    return folder().with_name(".wheels-fetched")


def _fetch(target: Path, on_progress: Callable[[str], None]) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, lock in locks().items():
        on_progress(f"wheels of {name}")
        _download(lock, fresh)
        shutil.copy(lock, fresh / f"requirements-{name}.lock")
    for archive in sorted(fresh.glob("*.tar.gz")):
        on_progress(f"building {archive.name}, published as source only")
        _wheel(str(archive), fresh)
        archive.unlink()
    _put(fresh, target, _fetched_key())


def _put(fresh: Path, target: Path, wanted: str) -> None:
    _key_file(target).unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    _key_file(target).write_text(wanted)


def _is_complete(place: Path, wanted: str) -> bool:
    return place.is_dir() and _key_file(place).exists() and _key_file(place).read_text() == wanted


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", *arguments, "-q", "--no-deps", "--disable-pip-version-check"]


def _download(requirements: Path, into: Path) -> None:
    tags = [f"{tag}_{platform.machine()}" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    argv = _pip("download", "--require-hashes", "--implementation", "cp", "--python-version", IMAGE_PYTHON)
    argv += ["--abi", f"cp{IMAGE_PYTHON.replace('.', '')}", *(word for tag in tags for word in ("--platform", tag))]
    command.run(
        [*argv, "-d", str(into), "-r", str(requirements)], failure="wheels for the machines could not be fetched"
    )


def _wheel(source: str, into: Path) -> None:
    argv = _pip("wheel", "--no-build-isolation", "--no-index", "-w", str(into), source)
    # With a fixed time, the same sources give the same wheel, and a host does not install it again.
    env = {"SOURCE_DATE_EPOCH": "315532800"}
    command.run(argv, env=env, failure=f"the wheel of {Path(source).name} could not be built")


def _key_file(place: Path) -> Path:
    return place.with_name(f".{place.name.lstrip('.')}.key")
