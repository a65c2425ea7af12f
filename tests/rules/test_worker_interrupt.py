"""On Ctrl-C, every process of a parallel test run stops its daemons before it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.polling import until
from workstation import paths

SLOW_S = 7
"""Duration of the stop of the test's daemon: longer than pytest-xdist alone waits."""
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
def test_slow(daemon, n):
    time.sleep(600)
"""


def test_every_process_stops_its_daemon(tmp_path: Path) -> None:
    """Only the run itself gets the signal, once. It ends as interrupted after both of its processes have cleaned up."""
    (tmp_path / "conftest.py").write_text(
        "from tests.worker_interrupt import WorkerInterrupt\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(WorkerInterrupt(), 'worker-interrupt')\n"
    )
    (tmp_path / "test_slow.py").write_text(STARTED)
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "."]
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    with subprocess.Popen(argv, cwd=tmp_path, env={**own, "PYTHONPATH": str(paths.repo())}) as run:
        until("both processes run", lambda: len(list(tmp_path.glob("up.*"))) == 2, 60)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 2
    assert len(list(tmp_path.glob("down.*"))) == 2
