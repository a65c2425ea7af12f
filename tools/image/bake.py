"""Bake, replace and prune base images. A finished image is never changed; a link switches to the new image."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from playbooks.install_hash import install_hash
from tools import command, hashing
from tools.image import first_stage, packages
from workstation import atomic_write, paths, subprocesses
from workstation.errors import GovcloudError

INSTALL_S = 60
"""Expected seconds of the second stage."""

KEPT_S = 900
"""Seconds that a replaced image stays: another process may know its path and not have mounted it yet."""


def folder() -> Path:
    """Return the folder of the images. `current` links to the newest image's root; `base-…` are first stages."""
    return paths.cache() / "image"


def current() -> Path:
    """Return the image's root directory, which users must not change. Raises GovcloudError if there is no image."""
    link = folder() / "current"
    if not link.exists():
        raise GovcloudError("there is no base image yet", "run ./govcloud setup")
    return link.resolve()


def key() -> str:
    """Return a key that covers the packages, the roles' install parts, their artifacts, and the baking code."""
    artifacts = paths.cache() / "artifacts"
    version = packages.kubernetes()
    hashes = [f"{role} {install_hash(role, artifacts, version)}" for role in packages.roles()]
    return hashing.hash_of(first_stage.key(), *hashes, Path(__file__).with_name("second_stage.py"))


def ready() -> bool:
    """Return whether the current image is the wanted one."""
    try:
        return (folder() / key() / "rootfs").is_dir() and current() == (folder() / key() / "rootfs").resolve()
    except GovcloudError:
        return False


def base_ready() -> bool:
    """Return whether the first stage exists."""
    return _base().is_dir()


def make_base(on_progress: Callable[[str], None]) -> None:
    """Build the first stage: Debian packages."""
    fresh = _fresh("base")
    first_stage.make(fresh, on_progress)
    shutil.rmtree(fresh / "settings")
    fresh.rename(_base())


def bake(on_progress: Callable[[str], None]) -> None:
    """Build the second stage, a copy of the first with the roles' install parts, and make it the current image."""
    wanted = key()
    if not (folder() / wanted).is_dir():
        _second_stage(folder() / wanted, on_progress)
    if (replaced := folder() / "current").exists() and replaced.resolve().parent.name != wanted:
        os.utime(replaced.resolve().parent)  # KEPT_S counts from now
    atomic_write.link(folder() / "current", f"{wanted}/rootfs")
    prune(on_progress)


def _second_stage(target: Path, on_progress: Callable[[str], None]) -> None:
    fresh = _fresh("image")
    root = str(fresh / "rootfs")
    on_progress("copying the base system")
    copy = [*command.DIE_WITH_PARENT, "cp", "-a", "--reflink=auto", str(_base() / "rootfs"), str(fresh)]
    command.run(copy, failure="the base system could not be copied")
    module = subprocesses.python_module("tools.image.second_stage")
    ours = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    ours["PYTHONPATH"] = str(paths.repo())
    on_progress(f"install parts of the roles {', '.join(packages.roles())}")
    isolated = [*command.DIE_WITH_PARENT, *command.ISOLATED, *module, "install", root]
    command.run(isolated, env=ours, failure="the roles' install parts failed in the image")
    on_progress("disabling services and removing build files")
    command.run([*command.DIE_WITH_PARENT, *module, "clean", root], env=ours, failure="the image could not be cleaned")
    fresh.rename(target)


def prune(on_progress: Callable[[str], None]) -> None:
    """Remove images and first stages that were replaced more than `KEPT_S` ago and that no machine mounts."""
    keep = {current().parent.name, _base().name}
    mounted = _mounts()
    for path in [path for path in folder().iterdir() if path.is_dir() and not path.is_symlink()]:
        young = time.time() - path.stat().st_mtime < KEPT_S
        if young or path.name in keep or any(str(path) in text for text in mounted):
            continue
        on_progress(f"removing the old image {path.name}")
        doomed = path.with_name(f".old-{path.name.lstrip('.')}")
        path.rename(doomed)
        shutil.rmtree(doomed)


def _base() -> Path:
    return folder() / f"base-{first_stage.key()}"


def _fresh(what: str) -> Path:
    """Return a new build folder. Remove the files of an interrupted run, but never while it contains a mount."""
    path = folder() / f".new-{what}"
    if any(f" {path}/" in text for text in _mounts()):
        raise GovcloudError(f"an earlier run still works in {path}", "run ./govcloud setup again in a moment")
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def _mounts() -> set[str]:
    """Return the mount tables of all processes, because machines have their own namespaces. Read each table once."""
    tables, seen = set(), set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace = str((process / "ns/mnt").readlink())
            if namespace not in seen:
                seen.add(namespace)
                tables.add((process / "mountinfo").read_text())
        except OSError:
            continue  # the process has ended
    return tables
