"""On a machine that was prepared for the tests, none may be skipped; the checkout as it was before them is noted."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

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
