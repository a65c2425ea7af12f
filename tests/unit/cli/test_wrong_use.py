"""A wrong name is exit 2 and lists the valid names, also without root. The check for root comes after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import bytecode
from tests.unit.cli.command_result import Call
from workstation import paths

UNKNOWN = {
    "command": ("nosuch",),
    "option": ("estate", "check", "--nosuch"),
    "language": ("estate", "show", "--lang", "fr"),
    "host": ("lab", "power", "off", "nosuch"),
    "host of a shell": ("lab", "shell", "nosuch"),
    "switch": ("lab", "power", "sideways", "futian"),
    "link": ("lab", "cut", "nosuch"),
    "healed link": ("lab", "heal", "nosuch"),
    "drill": ("drill", "run", "nosuch", "--yes"),
    "shown drill": ("drill", "show", "nosuch"),
    "site": ("drill", "run", "site-loss", "--yes", "--site", "nosuch"),
    "target of a drill": ("drill", "run", "site-loss", "--yes", "--target", "city-a"),
    "two sites of a drill": ("drill", "show", "site-loss", "--site", "futian", "--target", "nanshan"),
    "site of a drill without one": ("drill", "run", "path-loss", "--yes", "--site", "futian"),
    "target of a drill without one": ("drill", "show", "primary-crash", "--target", "futian-data1"),
    "site of the demo": ("demo", "--site", "nosuch"),
    "rate": ("drill", "run", "site-loss", "--yes", "--rate", "0"),
    "target": ("switchover", "--to", "nosuch"),
    "target of a failback": ("failback", "--to", "nosuch"),
    "failover without a target": ("failover",),
    "stack": ("up", "nosuch"),
    "site left out": ("plan", "--without", "nosuch"),
    "bench": ("bench", "nosuch"),
    "operations host": ("state", "restore", "--from", "futian-edge1"),
    "scope": ("test", "nosuch"),
    "site of a cluster": ("kubeconfig", "--site", "nosuch"),
    "bureau": ("kubeconfig", "--site", "futian", "--bureau", "nosuch"),
}
NEED_ROOT = {
    "setup": ("setup",),
    "status": ("status",),
    "plan": ("plan",),
    "up": ("up",),
    "drift": ("drift",),
    "destroy": ("destroy", "--yes"),
    "kubeconfig": ("kubeconfig", "--site", "futian"),
    "state list": ("state", "list"),
    "state copy": ("state", "copy"),
    "state restore": ("state", "restore", "--from", "futian-ops1"),
    "lab up": ("lab", "up"),
    "lab down": ("lab", "down"),
    "lab power": ("lab", "power", "off", "futian"),
    "lab cut": ("lab", "cut", "city-a"),
    "drill run": ("drill", "run", "site-loss"),
    "drill run of a link": ("drill", "run", "path-loss", "--target", "city-b"),
    "drill run of the primary": ("drill", "run", "primary-crash"),
    "switchover": ("switchover", "--to", "futian"),
    "failback without a site": ("failback",),
    "test lab": ("test", "lab"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_an_unknown_argument_is_wrong_use(call: Call, home: Path, what: str) -> None:
    done = call(*UNKNOWN[what])
    assert done.code == 2
    assert done.stdout == ""
    assert done.stderr
    assert not home.exists()


@pytest.mark.parametrize("what", NEED_ROOT)
def test_root_is_asked_for_in_one_sentence_before_anything_is_changed(call: Call, home: Path, what: str) -> None:
    done = call(*NEED_ROOT[what])
    assert done.code == 1
    assert "root" in done.stderr.lower()
    assert "nothing was changed" in done.stderr
    assert done.stdout == ""
    assert not home.exists()


def test_a_shells_command_keeps_its_own_options(call: Call) -> None:
    """Every word after the host belongs to the host's command."""
    done = call("lab", "shell", "nosuch", "vtysh", "-c", "show bgp", "--json")
    assert done.code == 2
    assert "unknown host 'nosuch'" in done.stderr


def test_with_json_an_error_is_one_object(call: Call) -> None:
    done = call("status", "--json")
    assert done.code == done.document["exit_code"] == 1
    assert set(done.document) == {"error", "next_step", "exit_code"}


@pytest.mark.parametrize("line", ["estate check --json --nosuch", "status --lang fr --json", "estate nosuch --json"])
def test_with_json_wrong_use_is_one_object_too(call: Call, line: str) -> None:
    """The parser finds it, before any command begins."""
    done = call(*line.split())
    assert done.code == done.document["exit_code"] == 2
    assert ("fr" if "fr" in line else "nosuch") in done.document["error"]
    assert done.document["next_step"].startswith("see `")


def test_help_lists_every_exit_code(call: Call) -> None:
    done = call("--help")
    assert done.code == 0
    for code in ("0 done", "2 wrong", "5 an", "6 refused", "8 locked", "10 changes", "130 interrupted"):
        assert code in " ".join(done.stdout.split())


STARTED: dict[str, Any] = {
    "cwd": paths.repo(),
    "env": {"PYTHONPATH": str(paths.repo()), "PATH": "/usr/bin:/bin", **bytecode.VARIABLES},
    "stderr": subprocess.PIPE,
}


def test_a_full_disk_behind_standard_output_is_an_error() -> None:
    argv = [sys.executable, "-P", "-u", "-m", "cli", "drill", "list", "--json"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(argv, stdout=full, check=False, **STARTED)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_closes_early_gets_no_traceback() -> None:
    """Like `| head -1`."""
    argv = [sys.executable, "-P", "-m", "cli", "estate", "show", "--yaml"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, **STARTED) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
