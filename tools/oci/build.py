"""Build container images.

A service's image has two layers, the interpreter and the service, so that a new version transfers little data. A
program's image is a Debian package with its dependencies.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tools import command, hashing
from tools.image import bake
from tools.oci import dependencies, layout
from workstation import paths
from workstation.errors import GovcloudError
from workstation.oci import OciImage, manifest_of

USER = 65532
ENVIRONMENTS = "opt/govcloud"
PASSWD = f"root:x:0:0:root:/:/usr/sbin/nologin\nservice:x:{USER}:{USER}:service:/:/usr/sbin/nologin\n"
GROUP = f"root:x:0:\nservice:x:{USER}:\n"
PROGRAMS = {"haproxy": {"Entrypoint": ["/usr/sbin/haproxy"], "StopSignal": "SIGUSR1"}}
"""Image settings by package. SIGUSR1 lets HAProxy finish its open requests."""


def folder(service: str) -> Path:
    """Return the folder of the image for the current base image and this version of the builder."""
    here = Path(__file__).parent
    key = hashing.hash_of(
        bake.current().parent.name, [here / f"{name}.py" for name in ("build", "dependencies", "layout")]
    )
    return paths.cache() / "oci" / service / key


def build(service: str, on_progress: Callable[[str], None] = lambda _: None) -> OciImage:
    """Return an image; build it if it is missing. Raises GovcloudError if the base image lacks the service."""
    target = folder(service)
    if not target.is_dir():
        _make(service, target, on_progress)
    return OciImage(name=service, folder=target, digest=manifest_of(target)[0])


def _make(service: str, target: Path, on_progress: Callable[[str], None]) -> None:
    base, fresh = bake.current(), target.with_name(".new")
    installed = dependencies.packages((base / "var/lib/dpkg/status").read_text(encoding="utf-8"))
    program, own = service in PROGRAMS, f"{ENVIRONMENTS}/{service}"
    if not (service in installed if program else (base / own).is_dir()):
        raise GovcloudError(f"the base image does not contain {service}", "run ./govcloud setup: it bakes a new image")
    shutil.rmtree(fresh, ignore_errors=True)
    tree = fresh / "tree"
    tree.mkdir(parents=True)
    on_progress(f"{service}: copying it and its dependencies")
    fill_root(base, dependencies.closure(installed, service if program else dependencies.ROOT_PACKAGE), tree)
    if not program:
        _environment(base / own, tree / own)
        _compile(tree)
    on_progress(f"{service}: writing its layers")
    image = fresh / "image"
    image.mkdir()
    layers = [layout.layer(image, tree, lambda path: not path.startswith(f"{ENVIRONMENTS}/"))]
    if not program:
        layers.append(layout.layer(image, tree, lambda path: path.startswith(f"{ENVIRONMENTS}/")))
    layout.finish(image, layers, settings(service))
    shutil.rmtree(target, ignore_errors=True)
    image.rename(target)
    shutil.rmtree(fresh)


def settings(service: str) -> dict[str, object]:
    """Return the image's settings: the program, its user and its environment."""
    if service in PROGRAMS:
        return {"User": f"{USER}:{USER}", "Env": ["PATH=/usr/bin:/usr/sbin"], "WorkingDir": "/", **PROGRAMS[service]}
    return {
        "User": f"{USER}:{USER}",
        "Entrypoint": [f"/{ENVIRONMENTS}/{service}/bin/python", "-m", service],
        "Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        "WorkingDir": "/",
    }


def fill_root(base: Path, packages: tuple[str, ...], tree: Path) -> None:
    """Fill `tree` with the root file system of these packages."""
    for name in ("etc", "proc", "sys", "dev", "tmp", *(f"usr/{name}" for name in dependencies.MERGED)):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    for name in dependencies.MERGED:
        (tree / name).symlink_to(f"usr/{name}")
    for path in dependencies.files(base, packages):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(base / path, tree / path, follow_symlinks=False)
    for name, text in (("passwd", PASSWD), ("group", GROUP)):
        (tree / "etc" / name).write_text(text)


def _environment(source: Path, target: Path) -> None:
    def unwanted(where: str, names: list[str]) -> set[str]:
        inside = Path(where).relative_to(source)
        return {name for name in names if dependencies.NOT_IN_AN_ENVIRONMENT.search(str(inside / name))}

    shutil.copytree(source, target, symlinks=True, ignore=unwanted)


def _compile(tree: Path) -> None:
    """Compile byte code with unchecked hashes: the image has no file times and is read-only."""
    python = [
        "chroot",
        str(tree),
        "/usr/bin/python3",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    environment = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0"}
    where = ["/usr/lib/python3.11", f"/{ENVIRONMENTS}"]
    command.run(
        [*command.DIE_WITH_PARENT, *python, *where], env=environment, failure="the image's Python code does not compile"
    )
