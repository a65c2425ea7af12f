"""The order of the integration tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that kill engines come last, before the lab: after them Pulumi's SDK, in this process, may call one that is
    gone. A stack of the estate has a process of its own."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return 2 if "tests/lab/" in path else 1 if "tests/integration/kubernetes/" in path else 0

    items.sort(key=place)
