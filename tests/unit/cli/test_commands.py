"""The table of commands: it is as the modules say, and each module is imported only for its own commands."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.core import TyperGroup

from cli.app import ENTRIES, load
from tests import bytecode
from workstation import paths

HEAVY = ("ansible", "ansible_runner", "cryptography", "grpc", "lightkube", "pulumi", "pulumi_kubernetes", "yaml")
"""Libraries that take long to import. `--help` and the completion of a command's name need none of them. Pydantic is
not here, because typer itself imports it for some options."""
OWN = ("estate", "failover", "lab", "monitors", "operations", "playbooks", "stacks", "tools")


def imported_by(*words: str, **variables: str) -> set[str]:
    """Return the top-level packages that a command line has imported at its end."""
    program = (
        "import sys, atexit; atexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n"
        "sys.argv[0] = 'govcloud'; from cli.__main__ import main; main()"
    )
    env = {"PYTHONPATH": str(paths.repo()), "PATH": "/usr/bin:/bin", **bytecode.VARIABLES, **variables}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *words], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stderr.splitlines()}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_table_is_as_the_module_says(name: str) -> None:
    """Both help pages begin with the same paragraph, and a group in the table is a group."""
    command = load(name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n")[0].split()) == ENTRIES[name].summary
    assert isinstance(command, TyperGroup) == ENTRIES[name].group


def test_help_of_the_root_imports_no_heavy_library_and_no_package_of_ours() -> None:
    assert imported_by("--help") & {*HEAVY, *OWN} == set()


def test_completion_of_a_commands_name_imports_no_heavy_library() -> None:
    found = imported_by(_GOVCLOUD_COMPLETE="complete_bash", COMP_WORDS="govcloud dr", COMP_CWORD="1")
    assert found & {*HEAVY, *OWN} == set()


def test_a_light_command_does_not_import_the_engine() -> None:
    """It needs the estate, so this also shows that the checks can fail."""
    found = imported_by("estate", "check")
    assert {"estate", "yaml"} <= found
    assert found & {"ansible", "ansible_runner", "grpc", "pulumi", "pulumi_kubernetes"} == set()
