"""The base image: its content, the sources of its packages, and that a mounted image is never removed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from playbooks.install_hash import package_names
from tools import debian, setup
from tools.image import bake, first_stage, packages
from workstation.errors import GovcloudError

TARGETS = """\
Debian|http://mirror.example/debian/|bookworm|main
Debian|http://mirror.example/debian/|bookworm|contrib
Debian|http://mirror.example/debian/|bookworm|main
Debian|http://mirror.example/debian-security/|bookworm-security|main
Debian|http://mirror.example/debian/|trixie|main
Docker|http://other.example/linux/|bookworm|stable
"""


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOVCLOUD_CACHE", str(tmp_path))
    (tmp_path / "image").mkdir()
    return tmp_path / "image"


def image(folder: Path, name: str, *, age_s: float = 0) -> Path:
    root = folder / name / "rootfs"
    root.mkdir(parents=True)
    then = time.time() - age_s
    os.utime(root.parent, (then, then))
    return root


def test_packages_come_from_the_machines_own_debian_mirrors_of_the_suite() -> None:
    assert first_stage.sources(TARGETS) == (
        "deb http://mirror.example/debian/ bookworm main contrib",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    )


def test_without_a_mirror_of_the_suite_mmdebstrap_uses_debians_defaults() -> None:
    assert first_stage.sources("Ubuntu|http://mirror.example/ubuntu/|jammy|main\n") == ()


def test_proxies_and_authorities_of_the_machine_are_used() -> None:
    proxy = 'Acquire::http::Proxy "http://proxy.example:3128";\n'
    dump = f'Acquire "";\nAcquire::http "";\n{proxy}APT::Architecture "amd64";\n'
    assert first_stage.acquire_settings(dump) == proxy


def test_the_image_contains_every_package_of_every_role() -> None:
    wanted = packages.wanted()
    for role in packages.roles():
        assert set(package_names(role)) <= set(wanted)
    assert list(wanted) == sorted(set(wanted))


def test_a_first_boot_enables_no_unit_by_itself() -> None:
    preset = first_stage.SETTINGS["etc/systemd/system-preset/00-govcloud.preset"].splitlines()
    assert preset[-1] == "disable *"
    assert "enable ssh.service" in preset


def test_without_an_image_the_error_names_setup(images: Path) -> None:
    with pytest.raises(GovcloudError, match="setup"):
        setup.image_root()


def test_the_image_is_the_directory_behind_the_link(images: Path) -> None:
    root = image(images, "one")
    (images / "current").symlink_to("one/rootfs")
    assert setup.image_root() == root


def test_old_images_are_removed_and_the_current_one_stays(images: Path) -> None:
    kept, gone = image(images, "new", age_s=10 * bake.KEPT_S), image(images, "old", age_s=2 * bake.KEPT_S)
    (images / "current").symlink_to("new/rootfs")
    lines: list[str] = []
    bake.prune(lines.append)
    assert kept.is_dir()
    assert not gone.parent.exists()
    assert lines == ["removing the old image old"]


def test_an_image_replaced_a_moment_ago_stays(images: Path) -> None:
    image(images, "new")
    old = image(images, "old", age_s=bake.KEPT_S / 2)
    (images / "current").symlink_to("new/rootfs")
    bake.prune(lambda text: None)
    assert old.is_dir()


def test_an_image_that_a_machine_mounts_stays(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(images, "new")
    used = image(images, "used", age_s=2 * bake.KEPT_S)
    (images / "current").symlink_to("new/rootfs")
    monkeypatch.setattr(bake, "_mounts", lambda: {f"36 1 0:30 / /m rw - overlay lab rw,lowerdir={used},upperdir=/u"})
    bake.prune(lambda text: None)
    assert used.is_dir()


def test_half_installed_packages_count_as_missing() -> None:
    status = "mmdebstrap ii\nvde2 rc\nnftables ii\n"
    assert debian.missing(status, ("mmdebstrap", "vde2", "tcpdump")) == ("vde2", "tcpdump")
