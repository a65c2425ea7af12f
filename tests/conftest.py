"""On a machine that was prepared for the tests, none may be skipped; the checkout as it was before them is noted."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.tree import TREE, tree

# Tests enter network namespaces and start programs there. At a `fork` (`Popen` with `user=` does one) gRPC, loaded
# by Pulumi's SDK, starts its threads anew, in the namespace of the thread that forked: every later test of the process
# would look for its engine there. Nothing of ours goes on in a forked child, so gRPC need not care.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

PREPARED = "GOVCLOUD_TESTS_PREPARED"
"""Set by `./govcloud test lab` and `all`, which install what is missing before they begin."""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note the checkout's state."""
    session.config.stash[TREE] = tree()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """The first test of the lab finds the machine to itself: what other tests share for a whole session ends before.

    API servers that only wait took part of the two processors from every drill.
    """
    if nextitem is None or _in_lab(item) or not _in_lab(nextitem):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, nextitem=None)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _in_lab(item: pytest.Item) -> bool:
    return item.path.is_relative_to(Path(__file__).parent / "lab")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skipped test fails there, with the reason why it was to be skipped."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(PREPARED):
        report.outcome = "failed"
        report.longrepr = f"skipped on a machine that setup has prepared: {call.excinfo and call.excinfo.value}"
    return report
