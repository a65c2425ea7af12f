"""Ctrl-C while several processes run tests leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.polling import until
from workstation import paths

SLOW_S = 7
"""How long the daemon of the test takes to end: longer than pytest-xdist alone would wait."""
STARTED = f"""
import pathlib, subprocess, time, pytest
HERE = pathlib.Path(__file__).parent

@pytest.fixture
def daemon(worker_id):
    (HERE / f"up.{{worker_id}}").touch()
    yield
    subprocess.run(["sleep", "{SLOW_S}"], check=True)
    (HERE / f"down.{{worker_id}}").touch()

@pytest.mark.parametrize("n", range(2))
def test_that_goes_on(daemon, n):
    time.sleep(600)
"""


def test_every_process_takes_down_what_it_has_started(tmp_path: Path) -> None:
    """The run itself is told, once; it ends as interrupted when both of its processes have cleaned up."""
    (tmp_path / "conftest.py").write_text(
        "from tests.worker_interrupt import WorkerInterrupt\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(WorkerInterrupt(), 'worker-interrupt')\n"
    )
    (tmp_path / "test_slow.py").write_text(STARTED)
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "."]
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    with subprocess.Popen(argv, cwd=tmp_path, env={**own, "PYTHONPATH": str(paths.repo())}) as run:
        until("both processes are at work", lambda: len(list(tmp_path.glob("up.*"))) == 2, 60)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 2
    assert len(list(tmp_path.glob("down.*"))) == 2
