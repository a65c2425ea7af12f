"""The entry reports missing prerequisites before it installs anything, also without Python.

The entry is a copy whose figures can be changed, on a path with nothing but what every Debian has.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from workstation import paths

COPIED = (
    "govcloud",
    "tools/check_machine.sh",
    "tools/prerequisites.py",
    "tools/kernel_features.py",
    "tools/requirements.lock",
)
PROGRAMS = "sh cat cut df dirname grep gzip ls readlink sed sha256sum tail tr uname zcat"
MUCH = 999_999
SETTING_UP = [("setup",), ("demo",), ("test",), ("test", "all"), ("test", "lab"), ("lab", "up")]


class Bare:
    """A Debian without Python. Its apt-get and dpkg only record their call, which ends the entry."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache, self.called = folder, folder / "cache", folder / "called"
        (folder / "tools").mkdir()
        (folder / "bin").mkdir()
        for name in COPIED:
            shutil.copy(paths.repo() / name, folder / name)
        entry = (folder / "govcloud").read_text()
        assert entry.count("in /usr/bin/python3 python3 ") == 1
        (folder / "govcloud").write_text(entry.replace("in /usr/bin/python3 python3 ", "in "))
        for program in PROGRAMS.split():
            (folder / "bin" / program).symlink_to(str(shutil.which(program)))
        for program in ("apt-get", "dpkg"):
            self.program(program, f"echo {program} >>{self.called}; exit 100")
        self.user(0)
        self.needs(MEMORY_GIB=0, DISK_GIB=0, DISK_READY_GIB=0)

    def program(self, name: str, text: str) -> None:
        """Put a program on the path."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def user(self, number: int) -> None:
        """Set the user ID of the caller."""
        self.program("id", f"echo {number}")

    def needs(self, **figures: int) -> None:
        """Change a requirement of the lab."""
        file = self.folder / "tools/prerequisites.py"
        text = file.read_text()
        for name, value in figures.items():
            text, changed = re.subn(rf"(?m)^{name} = \d+$", f"{name} = {value}", text)
            assert changed == 1
        file.write_text(text)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the entry."""
        env = {
            "PATH": f"{self.folder}/bin", "GOVCLOUD_CACHE": str(self.cache), "GOVCLOUD_HOME": str(self.folder / "home"),
        }  # fmt: skip
        argv = [str(self.folder / "govcloud"), *arguments]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    @property
    def untouched(self) -> bool:
        """Return whether no package was requested and nothing was created."""
        return not self.called.exists() and not self.cache.exists()


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    """Return a machine that has everything except Python."""
    return Bare(tmp_path)


@pytest.mark.parametrize("arguments", SETTING_UP)
def test_a_machine_that_has_all_gets_its_python(bare: Bare, arguments: tuple[str, ...]) -> None:
    done = bare.call(*arguments)
    assert "Debian packages for the start: python3" in done.stderr
    assert bare.called.exists()


@pytest.mark.parametrize("arguments", SETTING_UP)
@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ("MEMORY_GIB", rf"govcloud: {MUCH} GiB of available memory are needed, \d+\.\d GiB are there\."),
        ("DISK_GIB", rf"govcloud: {MUCH} GiB of free disk are needed, \d+\.\d GiB are there at /.*; GOVCLOUD_CACHE .*"),
    ],
)
def test_memory_and_disk_are_judged_before_any_package(
    bare: Bare, arguments: tuple[str, ...], figure: str, sentence: str
) -> None:
    bare.needs(**{figure: MUCH})
    done = bare.call(*arguments)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert re.fullmatch(sentence, first)
    assert last == "  next: nothing was changed"
    assert bare.untouched


def test_missing_root_is_reported_first(bare: Bare) -> None:
    bare.user(1000)
    bare.needs(MEMORY_GIB=MUCH)
    done = bare.call("demo")
    assert done.returncode == 1
    assert done.stderr.startswith("govcloud: Root is needed")
    assert "GiB" not in done.stderr
    assert bare.untouched


def test_with_json_all_missing_prerequisites_are_one_object(bare: Bare) -> None:
    bare.needs(MEMORY_GIB=MUCH, DISK_GIB=MUCH)
    answer = json.loads(bare.call("setup", "--json").stdout)
    assert "of available memory are needed" in answer["error"]
    assert "of free disk are needed" in answer["error"]
    assert (answer["next_step"], answer["exit_code"]) == ("nothing was changed", 1)


@pytest.mark.parametrize(
    "arguments",
    [("estate", "check"), ("--verbose", "estate", "check"), ("test", "unit"), ("test", "rules", "-k", "x")],
)
def test_commands_without_a_lab_need_and_install_no_prerequisites(bare: Bare, arguments: tuple[str, ...]) -> None:
    bare.needs(MEMORY_GIB=MUCH, DISK_GIB=MUCH)
    done = bare.call(*arguments)
    assert done.returncode == 1
    assert done.stderr == "govcloud: Python 3.11 or newer is needed: apt-get install python3 python3-venv.\n"
    assert bare.untouched


@pytest.mark.parametrize("arguments", [("--help",), ("lab", "--help"), ("lab", "up", "-h")])
def test_help_works_without_prerequisites(bare: Bare, arguments: tuple[str, ...]) -> None:
    bare.needs(MEMORY_GIB=MUCH)
    done = bare.call(*arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ./govcloud")
    assert bare.untouched


def test_other_commands_install_python_only_on_a_machine_that_can_run_the_lab(bare: Bare) -> None:
    bare.needs(MEMORY_GIB=MUCH)
    assert "of available memory are needed" in bare.call("status").stderr
    assert bare.untouched
    bare.needs(MEMORY_GIB=0)
    bare.call("status")
    assert bare.called.exists()


def test_after_a_first_setup_less_disk_is_needed(bare: Bare) -> None:
    bare.needs(DISK_GIB=MUCH)
    (bare.cache / "image/base-0123").mkdir(parents=True)
    bare.call("setup")
    assert bare.called.exists()


def lacks(bare: Bare, proc: Path, lab: Path) -> list[str]:
    """Return the script's output for another /proc and another lab."""
    argv = [
        "sh",
        str(bare.folder / "tools/check_machine.sh"),
        str(bare.cache),
        str(bare.folder),
        "",
        str(proc),
        str(lab),
    ]
    env = {"PATH": f"{bare.folder}/bin"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_memory_of_a_lab_that_is_up_does_not_count_against_the_machine(bare: Bare, tmp_path: Path) -> None:
    """The lab's state file has the memory that was available before the lab; the other text is as in real files."""
    bare.needs(MEMORY_GIB=8)
    (tmp_path / "meminfo").write_text("MemTotal:       24000000 kB\nMemAvailable:    3145728 kB\n")
    (tmp_path / "lab.json").write_text(json.dumps({"since": "x", "available_before_mib": 8192, "loops": []}, indent=1))
    (sentence,) = lacks(bare, tmp_path, tmp_path / "none")
    assert sentence == "8 GiB of available memory are needed, 3.0 GiB are there."
    assert lacks(bare, tmp_path, tmp_path / "lab.json") == []


KERNEL = "".join(
    f"CONFIG_{option}=y\n"
    for option in ("NAMESPACES", "NET_NS", "PID_NS", "CGROUPS", "VETH", "BRIDGE", "NF_TABLES", "BLK_DEV_LOOP")
)


@pytest.mark.parametrize(
    ("more", "features"),
    [
        ("CONFIG_TUN=m\nCONFIG_OVERLAY_FS=y\n", []),
        ("# CONFIG_TUN is not set\nCONFIG_OVERLAY_FS=m\n", ["virtual network cards (tun/tap)"]),
        ("", ["virtual network cards (tun/tap)", "overlay file system (overlay)"]),
    ],
)
def test_without_python_the_kernels_configuration_shows_missing_features(
    bare: Bare, tmp_path: Path, more: str, features: list[str]
) -> None:
    """With Python, each feature is tried for real."""
    (tmp_path / "meminfo").write_text("MemAvailable:    3145728 kB\n")
    (tmp_path / "config.gz").write_bytes(gzip.compress((KERNEL + more).encode()))
    sentences = [f"The kernel lacks {feature}: load its module or use a kernel that has it." for feature in features]
    assert lacks(bare, tmp_path, tmp_path / "none") == sentences
