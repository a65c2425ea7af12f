"""What each module of the integration tests must leave as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.polling import until


def astray() -> dict[str, str]:
    """Threads of this process that are in another network namespace than the first, by ID."""
    home, found = Path("/proc/self/ns/net").readlink(), dict[str, str]()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):
            if (there := (task / "ns" / "net").readlink()) != home:
                found[task.name] = f"{(task / 'comm').read_text().strip()} in {there}"
    return found


@pytest.fixture(autouse=True, scope="module")
def _no_thread_stays_in_another_network() -> Iterator[None]:
    """It would look for every later test's servers where they are not."""
    yield
    until("every thread is back in this process's network", lambda: not astray(), 30)
