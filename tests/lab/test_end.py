"""Kills every process of a deployed estate. Another clone removes the lab and deploys the estate again."""

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
    """Another clone of the project, like another operator's."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.repo()), str(folder)], check=True)
    return folder


@pytest.mark.nightly  # in the short tier, test_down.py kills and removes a small lab, also from another clone
@pytest.mark.parametrize("stacks", [(), (NETWORK,)], ids=["all", "network"])
def test_another_clone_removes_a_killed_lab_and_deploys_the_estate_again(
    hosts: Hosts, bare_host: traces.Before | None, clone: Path, stacks: tuple[str, ...]
) -> None:
    """Kill every process of the running lab. Another clone's `lab down` must leave no remains.

    Its `lab up` and `up` then deploy the stacks, although the state of the former instance still exists.
    """
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
    """Run a command of the clone. Return its JSON object, or an empty one if it prints nothing."""
    done = subprocess.run([str(clone / "govcloud"), *argv], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {}
