"""The order of the integration tests."""

from __future__ import annotations

import pytest

from tests import beside

MEASURING = ("/tests/integration/approval/", "/tests/integration/failover/", "/tests/integration/observe/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run beside all others are waited for before those that measure times, which have the machine for
    themselves; then comes the lab."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        if "/tests/lab/" in path:
            return 3
        return 2 if any(folder in path for folder in MEASURING) else 1 if beside.folder_of(item.path) else 0

    items.sort(key=place)
