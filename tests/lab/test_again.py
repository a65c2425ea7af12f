"""A deployed estate goes without a trace, whatever became of its processes, and comes back whole from its code, here
with a gateway more (test_gateways.py)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.api import Lab
from stacks.phases import stack_names
from stacks.state import store
from tests.lab import traces
from tests.lab.estate_on_lab import until_well
from tests.onboarding import write_the_entry
from workstation import paths

pytestmark = pytest.mark.lab


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Another clone of the project, as another operator has it, in which a bureau has got a gateway."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.repo()), str(folder)], check=True)
    write_the_entry(folder)
    return folder


def test_killed_taken_down_and_deployed_again_by_another_clone(
    lab: Lab, bare_host: tuple[traces.Snapshot, frozenset[int], set[str]] | None, clone: Path
) -> None:
    """Every process of the lab is killed under the running estate. Another clone's `lab down` leaves the host as it was
    before; its `lab up` and `up` find nothing of the former instance in the way and deploy every stack. Comes before
    what destroys the stacks: only where their state is there can it be in the way."""
    assert all(store.resources(stack) for stack in stack_names(lab.estate))
    traces.kill_everything()
    entry(clone, "lab", "down")
    if bare_host:
        traces.clean(*bare_host)
    entry(clone, "lab", "up")
    done = entry(clone, "up", "--json")
    assert all(done["stacks"][stack] > 0 for stack in stack_names(lab.estate)), done["stacks"]
    until_well(120)


def entry(clone: Path, *argv: str) -> dict[str, Any]:
    """A command of the clone; its object where it answers with one."""
    done = subprocess.run([str(clone / "govcloud"), *argv], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {}
