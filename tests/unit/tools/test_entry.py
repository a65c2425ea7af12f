"""The entry: help without an environment, its own folders, and one sentence for each missing prerequisite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from cli.app import ENTRIES, load
from tools import python_environment
from workstation import paths

ENTRY = paths.repo() / "govcloud"
PASSED_ON = (
    "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "PATH", "LC_ALL", "GOVCLOUD_CACHE", "GOVCLOUD_HOME",
)  # fmt: skip


def call(*arguments: str, cache: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "HOME": str(cache), "GOVCLOUD_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([str(ENTRY), *arguments], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_neither_needs_nor_creates_an_environment(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = call(*arguments, cache=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ./govcloud")
    assert list(tmp_path.iterdir()) == []


def test_the_first_help_names_every_command(tmp_path: Path) -> None:
    words = set(re.findall(r"[a-z]+", call("--help", cache=tmp_path).stdout.split("\n\n")[1]))
    missing = {
        (name, *path)
        for name in ENTRIES
        for path in ([(inner,) for inner in load(name).commands] if ENTRIES[name].group else [()])
        if not {name, *path} <= words
    }
    assert not missing


def test_the_entry_is_plain_sh(tmp_path: Path) -> None:
    assert ENTRY.read_text().startswith("#!/bin/sh\n")
    assert os.access(ENTRY, os.X_OK)
    subprocess.run(["/bin/sh", "-n", str(ENTRY)], check=True)


def finished_environment(cache: Path) -> Path:
    """Create an environment whose Python prints its arguments; return its folder of programs."""
    python = subprocess.run(
        ["/bin/sh", "-c", "command -v /usr/bin/python3 || command -v python3"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    version = subprocess.run(
        [python, "-I", "-S", "-c", "import sys; print(sys.version)"], capture_output=True, check=True
    )
    key = subprocess.run(
        "sha256sum | cut -c1-16",
        shell=True,
        input=(paths.repo() / "tools/requirements.lock").read_bytes() + version.stdout,
        capture_output=True,
        check=True,
    ).stdout.decode()
    bin_folder = cache / "python" / key.strip() / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder.parent / python_environment.MARKER).touch()
    program = bin_folder / "python"
    said = "\n".join(f'echo "${name}"' for name in PASSED_ON)
    program.write_text(f'#!/bin/sh\necho "$*"\n{said}\n')
    program.chmod(0o755)
    return bin_folder


def test_the_command_line_starts_in_the_finished_environment_and_writes_nothing_to_the_tree(
    tmp_path: Path,
) -> None:
    bin_folder = finished_environment(tmp_path)
    lines = call("estate", "check", "--file", "a b", cache=tmp_path).stdout.splitlines()
    assert lines[0] == "-P -m cli estate check --file a b"
    assert lines[1:3] == [str(paths.repo()), str(tmp_path / "bytecode")]
    assert lines[3] == "", "each command would compile all libraries again"
    assert lines[4].startswith(f"{bin_folder}:")
    assert lines[5] == "C.UTF-8"
    assert lines[6:] == [str(tmp_path), "/var/lib/govcloud"]


def test_paths_relative_to_the_callers_folder_become_absolute(tmp_path: Path) -> None:
    """Otherwise a program that starts in another folder would use another path."""
    finished_environment(tmp_path / "a b/cache")
    env = {"PATH": "/usr/bin:/bin", "GOVCLOUD_CACHE": "a b/cache", "GOVCLOUD_HOME": "../home"}
    done = subprocess.run([str(ENTRY), "status"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [f"{tmp_path}/a b/cache", f"{tmp_path}/../home"]


def test_another_users_environment_is_not_used(tmp_path: Path) -> None:
    """Its programs would run as the caller."""
    if os.geteuid():
        pytest.skip("needs root, to give a folder to another user")
    bin_folder = finished_environment(tmp_path)
    os.chown(bin_folder.parent, 65534, -1)
    done = call("status", "--json", cache=tmp_path)
    assert done.returncode == 1
    assert "belongs to user 65534, whose programs would run as you" in done.stderr
    assert json.loads(done.stdout)["next_step"] == "name a place of your own in GOVCLOUD_CACHE"


def test_without_a_home_no_shared_folder_is_used() -> None:
    """User 4711 is in no password file: its cache would be in a folder that every user may write to."""
    if os.geteuid():
        pytest.skip("needs root, to become another user")
    argv = ["setpriv", "--reuid=4711", "--clear-groups", "/bin/sh", "govcloud", "estate", "check", "--json"]
    done = subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, cwd=paths.repo()
    )
    assert done.returncode == 1
    assert "HOME is not set and user 4711 has no home" in done.stderr
    assert json.loads(done.stdout)["next_step"] == "name one in GOVCLOUD_CACHE"


def test_a_cache_that_cannot_be_written_is_reported_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("a file in the place of a folder")
    done = call("estate", "check", "--json", cache=tmp_path)
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 1
    assert "cannot be written" in done.stderr
    assert "GOVCLOUD_CACHE=DIRECTORY" in done.stderr
    assert "Traceback" not in done.stderr


def test_paths_are_absolute_for_every_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOVCLOUD_HOME", "home")
    monkeypatch.setenv("GOVCLOUD_CACHE", "cache")
    assert (paths.home(), paths.cache()) == (tmp_path / "home", tmp_path / "cache")


def test_debian_12_is_tested_and_other_systems_give_a_warning() -> None:
    assert python_environment.distribution_warning('ID=debian\nVERSION_ID="12"\n') == ""
    other = python_environment.distribution_warning('PRETTY_NAME="Ubuntu 24.04"\nID=ubuntu\nVERSION_ID="24.04"\n')
    assert "untested" in other
    assert "Ubuntu 24.04" in other
    assert "untested" in python_environment.distribution_warning("")


def test_a_finished_environment_is_not_created_again(tmp_path: Path) -> None:
    target = tmp_path / "python" / "key"
    target.mkdir(parents=True)
    (target / python_environment.MARKER).touch()
    python_environment.make(target, tmp_path / "no such lock")
    assert [path.name for path in target.iterdir()] == [python_environment.MARKER]


def test_an_interrupted_environment_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "key"
    (target / "lib").mkdir(parents=True)
    (target / "lib" / "left").write_text("half a package")
    lock = tmp_path / "requirements.lock"
    lock.write_text("")
    monkeypatch.setattr(python_environment, "install", lambda folder, requirements: None)
    create = venv.create
    monkeypatch.setattr(venv, "create", lambda folder, symlinks, with_pip: create(folder, symlinks=symlinks))
    python_environment.make(target, lock)
    assert (target / python_environment.MARKER).exists()
    assert (target / "bin" / "python").exists()
    assert not (target / "lib" / "left").exists()


def test_without_a_package_index_the_reason_is_reported_and_no_file_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uses this environment's real pip with a closed port as its index."""

    def create(folder: Path, **_: bool) -> None:
        program = folder / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        program.chmod(0o755)

    monkeypatch.setattr(venv, "create", create)
    for name, value in (("CONFIG_FILE", os.devnull), ("INDEX_URL", "http://127.0.0.1:9/simple"), ("RETRIES", "0")):
        monkeypatch.setenv(f"PIP_{name}", value)
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"missing==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(SystemExit, match="does a package index answer") as caught:
        python_environment.make(tmp_path / "python/key", lock)
    assert "the unfinished environment was removed" in str(caught.value)
    assert not (tmp_path / "python/key").exists()


def test_ci_runs_the_whole_test() -> None:
    text = (paths.repo() / ".ci" / "run").read_text()
    assert os.access(paths.repo() / ".ci" / "run", os.X_OK)
    assert "CI=true" in text
    assert text.rstrip().endswith("./govcloud test")
