"""Set up the operator's machine in order. Only missing steps run, so that the next run takes a second."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from estate.loader import load
from tools import debian, golang, prerequisites, python_environment, wheels
from tools.image import bake, first_stage
from workstation import file_lock, paths
from workstation.progress import duration, say, step

Progress = Callable[[str], None]

PACKAGES_S, TOOLCHAIN_S, WHEELS_S = 40, 15, 15
"""Expected seconds of these steps on two cores with an ordinary mirror."""


def image_root() -> Path:
    """Return the base image's root directory, to be used read-only. Raises GovcloudError if there is no image."""
    return bake.current()


@dataclass(frozen=True, kw_only=True)
class Work:
    """Missing steps of this machine. The image comes last, because it contains the builds and wheels."""

    packages: tuple[str, ...]
    compiler: bool
    builds: tuple[golang.Build, ...]
    wheels: bool
    base: bool
    image: bool

    @property
    def anything(self) -> bool:
        """Whether there is work to do."""
        return bool(self.packages or self.compiler or self.builds or self.wheels or self.base or self.image)

    @property
    def expected_s(self) -> float:
        """Expected duration of all steps in seconds."""
        steps = [
            (bool(self.packages), PACKAGES_S),
            (self.wheels, WHEELS_S),
            (self.base, first_stage.EXPECTED_S),
            (self.image, bake.INSTALL_S),
        ]
        return sum(seconds for needed, seconds in steps if needed) + sum(build.expected_s for build in self.builds)


def declared() -> frozenset[golang.Group]:
    """Return the builds for the project's own estate: Kubernetes only for its clusters, in their versions."""
    return golang.ALWAYS | golang.kubernetes(cluster.version for cluster in load().clusters)


def missing_work(groups: Collection[golang.Group]) -> Work:
    """Return the missing steps of this machine; takes well under a second."""
    builds, no_wheels = golang.missing(groups), not wheels.ready()
    return Work(
        packages=debian.to_install(debian.C_COMPILER if any(build.c_compiler for build in builds) else ()),
        compiler=not paths.compiler().exists(),
        builds=builds,
        wheels=no_wheels,
        base=not bake.base_ready(),
        image=bool(builds) or no_wheels or not bake.ready(),
    )


def run(
    on_progress: Progress | None = None, groups: Collection[golang.Group] | None = None, *, before_lab: int = 0
) -> None:
    """Install and build everything that is missing.

    `groups` selects the builds; None means the builds of the estate. Packages, wheels and the image are always
    included. `before_lab`: available bytes of memory before the running lab was started.
    Raises GovcloudError with one sentence per missing prerequisite before any change.
    """
    wanted = declared() if groups is None else groups
    work = missing_work(wanted)
    disk_gib = prerequisites.DISK_GIB if work.base else prerequisites.DISK_READY_GIB
    prerequisites.check(disk_gib=disk_gib, before_lab=before_lab)
    if not work.anything:
        return
    if warning := python_environment.distribution_warning(_os_release()):
        say(warning)
    no_go = (work.compiler or bool(work.builds)) and golang.installed() is None
    prerequisites.check_registries(
        debian=bool(work.packages or work.base),
        python=work.wheels or no_go,
        go=bool(work.builds),
    )
    # One setup at a time per cache. A second setup waits.
    with file_lock.wait_for(
        paths.cache() / "setup.lock", lambda: say("  another setup is running on this machine; waiting for it")
    ):
        work = missing_work(wanted)
        if not work.anything:
            return
        say(f"Setting up, about {duration(work.expected_s)}; after an interruption the next run continues.")
        _carry_out(work, on_progress or (lambda text: say(f"  {text}")))


def _carry_out(work: Work, on_progress: Progress) -> None:
    if work.packages:
        with step(f"Debian packages: {' '.join(work.packages)}", PACKAGES_S):
            debian.install(work.packages, on_progress)
    if work.compiler or work.builds:
        go = golang.installed() or _toolchain()
        golang.make_link(go)
        for build in work.builds:
            with step(f"building {build.name} from its pinned modules", build.expected_s):
                golang.build(build, go, on_progress)
    if work.wheels:
        with step("wheels for the machines", WHEELS_S):
            wheels.fetch(on_progress)
    if not bake.ready():
        if not bake.base_ready():
            with step("base system of the machines", first_stage.EXPECTED_S):
                bake.make_base(on_progress)
        with step("base image with the roles' install parts", bake.INSTALL_S):
            bake.bake(on_progress)


def _toolchain() -> Path:
    with step("Go toolchain: this machine has no new enough compiler", TOOLCHAIN_S):
        return golang.fetch_toolchain()


def _os_release() -> str:
    path = Path("/etc/os-release")
    return path.read_text() if path.exists() else ""
