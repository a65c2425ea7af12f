"""On a prepared machine no test may be skipped. Tests that share machines or addresses run in one process."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from cli.testing import BEFORE, DURATIONS, FAILED, slowest, tree
from tests.collected import COLLECTED
from tests.tree import TREE
from tests.worker_interrupt import WorkerInterrupt

# Tests enter network namespaces and start programs there. Pulumi's SDK loads gRPC. At a `fork` (`Popen` with `user=`
# does one), gRPC restarts its threads in the namespace of the forking thread. Every later test of the process would
# then look for its engine in that namespace. Our forked children never use gRPC, so its fork support can be off.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

PREPARED = "GOVCLOUD_TESTS_PREPARED"
"""Set by the tiers of `./govcloud test` that first install everything that is missing."""
ONE_AT_A_TIME = (
    "tests/integration/clusters",
    "tests/integration/data",
    "tests/integration/failover",
    "tests/integration/observe",
    "tests/integration/platform",
)
"""Folders whose files all use the same machines or addresses."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin that sends Ctrl-C to all processes of a run."""
    config.pluginmanager.register(WorkerInterrupt(), "worker-interrupt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Store the names of all collected tests, before -m and -k remove some."""
    found: dict[str, set[str]] = {}
    for item in items:
        file, *_, name = item.nodeid.split("[")[0].split("::")
        found.setdefault(file, set()).add(name)
    config.stash[COLLECTED] = found


def pytest_sessionstart(session: pytest.Session) -> None:
    """Store the checkout's state from before the first run of the command."""
    before = os.environ.get(BEFORE)
    session.config.stash[TREE] = tree() if before is None else before


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the names of failed tests to a file, for a second attempt.

    In a run of several processes, only the process that distributes the tests does this.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (file := os.environ.get(FAILED)) and reporter and not hasattr(session.config, "workerinput"):
        reports = [*reporter.stats.get("failed", ()), *reporter.stats.get("error", ())]
        Path(file).write_text("".join(f"{name}\n" for name in dict.fromkeys(one.nodeid for one in reports)), "utf-8")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the ten slowest tests of all runs so far and the time since the command began."""
    config = terminalreporter.config
    if not (file := os.environ.get(DURATIONS)) or hasattr(config, "workerinput") or config.option.collectonly:
        return
    seconds: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] = seconds.get(report.nodeid, 0) + report.duration
    with Path(file).open("a", encoding="utf-8") as durations:
        durations.writelines(f"{took:.2f} {name}\n" for name, took in seconds.items())
    total, tests = slowest(Path(file))
    terminalreporter.section("slowest tests so far, with their fixtures")
    for took, name in tests:
        terminalreporter.write_line(f"{took:8.2f} s  {name}")
    terminalreporter.write_line(f"total time: {total / 60:.1f} min")


@pytest.fixture(scope="session", autouse=True)
def _no_bytecode_of_temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove from the cache what Python compiled for modules below the temporary folder: no later run uses it."""
    yield
    if sys.pycache_prefix:
        folder = tmp_path_factory.getbasetemp()
        shutil.rmtree(Path(sys.pycache_prefix) / folder.relative_to("/"), ignore_errors=True)


@pytest.fixture
def hangup() -> Iterator[None]:
    """Restore the default action of SIGHUP, also if `nohup` started the tests with SIGHUP ignored."""
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


class ByFile(LoadScopeScheduling):
    """Gives each process whole files or whole folders, because their tests share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def share_of(nodeid: str) -> str:
    """Return the unit that runs in one process: the test's file, or its folder if that is in `ONE_AT_A_TIME`."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in ONE_AT_A_TIME if file.startswith(f"{folder}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Return the scheduler for a run of several processes."""
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On a prepared machine, let a skipped test fail with the reason for the skip."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(PREPARED):
        report.outcome = "failed"
        report.longrepr = f"skipped on a machine that setup has prepared: {call.excinfo and call.excinfo.value}"
    return report
