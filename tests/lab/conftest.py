"""One lab for the whole run: reused where one is up already, and taken away at the end only where it was not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from estate import loader
from lab.api import Lab, instance_id

LAST = ("test_down.py",)
"""These take the lab away, so they run after everything that needs it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever takes the lab away comes last."""
    items.sort(key=lambda item: item.path.name in LAST)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The running lab."""
    found = Lab(loader.load())
    was_up = instance_id() is not None
    found.up()
    yield found
    if not was_up:
        found.down()
