"""Every role declares its arguments, and no role depends on the lab."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workstation import paths

PLAYBOOKS = paths.repo() / "playbooks"
ROLES = sorted(path for path in (PLAYBOOKS / "roles").iterdir() if path.is_dir())
PROGRAMS = sorted((PLAYBOOKS / "host_programs").glob("*.py"))
NAMED = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def test_there_are_roles() -> None:
    """An empty folder would make every other test here pass."""
    assert {"base", "frr", "nftables", "etcd", "postgresql", "approval", "ingress", "prometheus", "blackbox"} <= {
        r.name for r in ROLES
    }


@NAMED
def test_role_declares_its_arguments(role: Path) -> None:
    """`meta/argument_specs.yml` has a main entry, and each of its options has a type and a description."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    main = specs["argument_specs"]["main"]
    assert main["short_description"]
    for name, option in main["options"].items():
        assert option.get("type"), name
        assert option.get("description"), name


@NAMED
def test_role_does_not_depend_on_the_lab(role: Path) -> None:
    """The same role configures a real server."""
    for file in role.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            assert not [word for word in ("nspawn", "gc-ops") if word in text], file


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_host_program_does_not_depend_on_the_lab(program: Path) -> None:
    """The same program runs on a real server."""
    assert not [word for word in ("nspawn", "gc-ops") if word in program.read_text(encoding="utf-8")]


def test_the_tasks_are_valid(tmp_path: Path) -> None:
    """Ansible itself parses the roles. Its error has the role and the line."""
    play = tmp_path / "play.yml"
    play.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "roles": [role.name for role in ROLES]}]),
        encoding="utf-8",
    )
    env = {
        "ANSIBLE_ROLES_PATH": str(ROLES[0].parent),
        "ANSIBLE_LIBRARY": str(PLAYBOOKS / "library"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    ansible = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run(
        [str(ansible), "--syntax-check", "-i", "localhost,", str(play)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
