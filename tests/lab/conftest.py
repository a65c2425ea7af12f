"""One lab for the whole run: reused where one is up already, and taken away at the end only where it was not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from estate import loader
from lab.api import Lab, instance_id

ORDER = (
    "test_down.py",  # takes the lab away several times, so it comes before anything is deployed
    "test_wires.py",
    "test_power.py",
    "test_network.py",
    "test_deploy.py",
    "test_state.py",
    "test_hosts.py",
    "test_protections.py",
    "test_drills.py",
)
"""The story: bare machines first, then the deployed estate, then the loss of its sites."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the story's order; other folders' tests stay where they are, before."""
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.name in ORDER else -1)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The running lab."""
    found = Lab(loader.load())
    was_up = instance_id() is not None
    found.up()
    yield found
    if not was_up:
        found.down()
