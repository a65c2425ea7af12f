"""Every role consists of the known steps, and no role depends on the lab."""

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
    assert {"base", "frr", "nftables", "etcd", "postgresql", "service_setup", "ingress", "prometheus", "blackbox"} <= {
        r.name for r in ROLES
    }


@NAMED
def test_role_consists_of_the_known_steps(role: Path) -> None:
    """`playbooks/part.yml` runs these steps. It would silently skip another one."""
    steps = {path.name for path in (role / "tasks").iterdir()}
    assert "install.yml" in steps
    assert steps <= {"install.yml", "before_install.yml", "before.yml", "after.yml"}


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
    steps = [(role.name, path.stem) for role in ROLES for path in sorted((role / "tasks").iterdir())]
    tasks: list[dict[str, object]] = [{"import_role": {"name": name, "tasks_from": step}} for name, step in steps]
    tasks.append({"import_tasks": str(PLAYBOOKS / "part.yml")})
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    env = {
        "ANSIBLE_ROLES_PATH": str(ROLES[0].parent),
        "ANSIBLE_LIBRARY": str(PLAYBOOKS / "host_programs"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    ansible = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run(
        [str(ansible), "--syntax-check", "-i", "localhost,", str(play), *map(str, sorted(PLAYBOOKS.glob("[bs]*.yml")))],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
