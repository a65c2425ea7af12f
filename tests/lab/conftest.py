"""One lab for the whole run: reused where one is up already, and taken away at the end only where it was not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from estate import loader
from lab.api import Lab, instance_id
from tests.lab import traces

ORDER = (
    "test_down.py",  # takes the lab away several times, so it comes before anything is deployed
    "test_wires.py",
    "test_power.py",
    "test_network.py",
    "test_deploy.py",
    "test_state.py",
    "test_hosts.py",
    "test_protections.py",
    "test_pods.py",
    "test_drills.py",
    "test_again.py",  # takes the deployed estate away and builds it anew, with a gateway
    "test_gateways.py",
    "test_destroy.py",
    "test_tree.py",
)
"""The story: bare machines first, then the deployed estate, then the loss of its sites."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the story's order; other folders' tests stay where they are, before."""
    here = Path(__file__).parent
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.parent == here else -1)


@pytest.fixture(scope="session")
def bare_host() -> tuple[traces.Snapshot, frozenset[int], set[str]] | None:
    """The host before the run's lab, and what of it moves by itself; None where a lab was up already."""
    return None if instance_id() else traces.before_it()


@pytest.fixture(scope="session")
def lab(bare_host: object) -> Iterator[Lab]:
    """The running lab."""
    found = Lab(loader.load())
    was_up = instance_id() is not None
    found.up()
    yield found
    if not was_up:
        found.down()
