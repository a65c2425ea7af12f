"""The end of a deployed estate: every process is killed, the lab is taken down, and another clone deploys it again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import cleanup
from stacks.phases import NETWORK, stack_names
from stacks.state import store
from tests.lab import traces
from tests.lab.estate_on_lab import Hosts, until_well
from workstation import paths

pytestmark = pytest.mark.lab


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Another clone of the project, as another operator has it."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.repo()), str(folder)], check=True)
    return folder


@pytest.mark.parametrize("stacks", [pytest.param((), id="all", marks=pytest.mark.nightly), (NETWORK,)])
def test_killed_taken_down_and_deployed_again_by_another_clone(
    hosts: Hosts, bare_host: traces.Before | None, clone: Path, stacks: tuple[str, ...]
) -> None:
    """Every process of the lab is killed under the running estate. Another clone's `lab down` leaves nothing of the
    lab. Its `lab up` and `up` deploy the stacks: the state of the former instance is not in the way."""
    lab = hosts.lab
    assert all(store.resources(stack) for stack in stack_names(lab.estate))
    made = traces.census(lab.directories.lab)
    traces.kill_everything()
    entry(clone, "lab", "down")
    if bare_host:
        traces.assert_gone(bare_host, made, lab.directories.lab)
    assert not cleanup.leftovers()
    entry(clone, "lab", "up")
    done = entry(clone, "up", *stacks, "--json")
    assert all(done["stacks"][stack] > 0 for stack in stacks or stack_names(lab.estate)), done["stacks"]
    if not stacks:
        until_well(120)


def entry(clone: Path, *argv: str) -> dict[str, Any]:
    """A command of the clone; its object where it answers with one."""
    done = subprocess.run([str(clone / "govcloud"), *argv], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {}
