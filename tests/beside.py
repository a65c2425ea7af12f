"""Folders whose tests wait more than they compute: each runs in a process of its own, beside all other tests.

What happened there is told here, test by test, at its place in the order: there is one report and one last line.
The reports are passed as JSON lines through a pipe, in the form that pytest itself gives them for such a passage.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PIPE = "GOVCLOUD_TESTS_PIPE"
"""Set in a process beside ours: where it writes its reports."""
PRIORITY = {"tests/integration/data": -5, "tests/integration/kubernetes": 0}
"""Niceness by folder. Elections have deadlines, and the daemons in them compute little."""
BOUND = ("setpriv", "--pdeathsig", "INT")
"""Whatever becomes of us: they take down what they have started."""
ENDS_WITHIN_S = 60
END = ""
TAIL = 8000


def register(config: pytest.Config) -> None:
    """Run folders beside this process, or, in the process beside, report to where the run was begun."""
    pipe = os.environ.pop(PIPE, None)
    config.pluginmanager.register(Teller(config, int(pipe)) if pipe else Listener(), "beside")


def folder_of(path: Path) -> str | None:
    """The folder with a process of its own to which the test file belongs."""
    return next((folder for folder in PRIORITY if f"/{folder}/" in path.as_posix()), None)


class Teller:
    """In the process beside: passes each report on."""

    def __init__(self, config: pytest.Config, pipe: int) -> None:
        os.set_inheritable(pipe, False)  # the end of this process is the end of its reports
        self._config, self._to = config, os.fdopen(pipe, "w", encoding="utf-8", buffering=1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line for each step of a test."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._to.write(json.dumps(data) + "\n")


class Neighbour:
    """A process that runs the tests of one folder."""

    def __init__(self, folder: str, names: list[str], root: Path) -> None:
        self._last, self._words = names[-1], tempfile.TemporaryFile()  # noqa: SIM115
        source, target = os.pipe()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=[source], daemon=True)
        priority = ("nice", "-n", str(PRIORITY[folder])) if PRIORITY[folder] else ()
        argv = [*BOUND, *priority, sys.executable, "-m", "pytest", *names]
        self._process = subprocess.Popen(
            argv, cwd=root, env={**os.environ, PIPE: str(target)}, pass_fds=[target], stdin=subprocess.DEVNULL,
            stdout=self._words, stderr=subprocess.STDOUT, process_group=0,
        )  # fmt: skip
        os.close(target)
        self._reader.start()

    def reports(self, name: str) -> Iterator[dict[str, Any]]:
        """The reports of one test as they come. RuntimeError where the process ended without the last of them."""
        for line in iter(self._lines.get, END):
            report = json.loads(line)
            yield report
            if (report["nodeid"], report["when"]) == (name, "teardown"):
                break
        else:
            self._lines.put(END)  # for the next one too
            self._process.wait()
            raise RuntimeError(f"its process ended ({self._process.returncode}) before it:\n{self._tail()}")
        if name == self._last and self._process.wait() not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"its process ended with {self._process.returncode} after it:\n{self._tail()}")

    def end(self) -> None:
        """As on Ctrl-C: it takes down what it has started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        self._words.close()

    def _read(self, source: int) -> None:
        """Until the process ends: a pipe that nobody reads would stop it."""
        with os.fdopen(source, encoding="utf-8") as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(END)

    def _tail(self) -> str:
        self._words.seek(0)
        return self._words.read().decode(errors="replace")[-TAIL:]


class Beside(pytest.Item):
    """A test that another process runs. It needs nothing here, so it belongs to no folder or module."""

    def __init__(self, *, original: pytest.Item, neighbour: Neighbour, **more: Any) -> None:
        super().__init__(**more)
        self._original, self.neighbour = original, neighbour

    @property
    def location(self) -> tuple[str, int | None, str]:
        """That of the test itself."""
        return self._original.location

    def runtest(self) -> None:
        """Tell its reports as if it had run here."""
        try:
            for data in self.neighbour.reports(self.nodeid):
                report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
                if report.skipped:
                    report.longrepr = tuple(report.longrepr)  # JSON has lists only
                self.ihook.pytest_runtest_logreport(report=report)
        except RuntimeError as error:
            self.ihook.pytest_runtest_logreport(
                report=pytest.TestReport(self.nodeid, self.location, {}, "failed", str(error), "call")
            )


class Listener:
    """Where the run was begun: starts the processes beside, and tells what they tell."""

    def __init__(self) -> None:
        self._neighbours: list[Neighbour] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Each folder that has tests in this run gets its process, unless there is nothing that it could run beside."""
        found = {folder_of(item.path) for item in session.items}
        if len(found) < 2 or session.config.option.collectonly or session.testsfailed:
            return
        for folder in sorted(found - {None}, key=str):
            own = [item for item in session.items if folder_of(item.path) == folder]
            neighbour = Neighbour(str(folder), [item.nodeid for item in own], session.config.rootpath)
            self._neighbours.append(neighbour)
            for item in own:
                place = session.items.index(item)
                session.items[place] = Beside.from_parent(
                    session, name=item.name, nodeid=item.nodeid, path=item.path, original=item, neighbour=neighbour
                )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Of a test that runs beside, its reports."""
        if not isinstance(item, Beside):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        item.runtest()
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """None outlives the run, however it ends."""
        for neighbour in self._neighbours:
            neighbour.end()
