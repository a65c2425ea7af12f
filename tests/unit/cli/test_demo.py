"""`demo`: an interrupted step may finish; the result is the drill's object with the duration of the whole demo."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli import demo
from tests import bytecode
from tests.unit.cli.command_result import Call
from workstation import paths
from workstation.errors import GovcloudError

STEP = """
import signal, sys, time
def leave(number, frame):
    begun = time.monotonic()
    while time.monotonic() < begun + 1:
        pass
    print("power is back", flush=True)
    sys.exit(130)
signal.signal(signal.SIGINT, leave)
print("began", flush=True)
signal.pause()
"""
PARENT = """
import sys
from workstation.subprocesses import run_to_completion
run_to_completion([sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_ctrl_c_lets_a_step_finish_and_report(number: signal.Signals) -> None:
    """A drill that is killed while it powers a site on would leave the site off."""
    argv = [sys.executable, "-c", PARENT, STEP]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=paths.repo(), process_group=0,
        env={"PYTHONPATH": str(paths.repo()), "PATH": "/usr/bin:/bin", **bytecode.VARIABLES},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert output == "power is back\n"
    assert errors.rstrip().endswith("KeyboardInterrupt")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that the demo calls. The drill prints an object and misses an objective."""
    called: list[str] = []

    def run(argv: list[str], *, keep: bool) -> tuple[int, bytes]:
        called.append(" ".join(argv[4:]))
        drill = argv[4] == "drill"
        return (5, json.dumps({"id": "a", "verdict": "objective-missed"}).encode()) if drill else (0, b"")

    monkeypatch.setattr(demo.subprocesses, "run_to_completion", run)
    return called


def test_a_missed_objective_is_a_finished_demo_with_exit_5(call: Call, steps: list[str]) -> None:
    """And one object: the drill's own, with what the demo took."""
    done = call("demo", "--site", "nanshan", "--json")
    assert done.code == 5
    assert done.document["verdict"] == "objective-missed"
    assert set(done.document["demo"]) == {"seconds", "memory_peak_mib"}
    assert "an objective was missed" in done.stderr
    assert [step.split()[0] for step in steps] == ["setup", "lab", "up", "drill"]
    assert "--site nanshan" in steps[-1]
    assert all(step.endswith("--json") for step in steps), "a step that fails must print its error as an object"


def test_a_step_that_fails_ends_the_demo_with_its_exit_code(
    call: Call, steps: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And names the command that the operator may repeat."""
    monkeypatch.setattr(demo.subprocesses, "run_to_completion", lambda argv, keep: (1 if argv[4] == "lab" else 0, b""))
    done = call("demo")
    assert done.code == 1
    assert "stopped at step 2 (`./govcloud lab up`)" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (b'{"error": "no memory", "next_step": "add some", "exit_code": 1}', "no memory"),
        (b"", "lab up"),
        (b"{", "lab up"),
    ],
)
def test_a_step_that_fails_is_one_object_with_the_step_and_its_error(
    call: Call, monkeypatch: pytest.MonkeyPatch, output: bytes, error: str
) -> None:
    """Also if the step was killed and printed no object."""
    monkeypatch.setattr(
        demo.subprocesses, "run_to_completion", lambda argv, keep: (1, output) if argv[4] == "lab" else (0, b"{}")
    )
    done = call("demo", "--site", "futian", "--json")
    assert done.code == done.document["exit_code"] == 1
    assert error in done.document["error"]
    assert done.document["next_step"]
    assert done.document["demo"]["failed_step"] == 2
    assert done.document["demo"]["command"] == "./govcloud lab up"


MEMBERS = {"members": [{"site": "futian", "role": "sync-standby"}, {"site": "nanshan", "role": "primary"}]}
NO_PRIMARY = {"members": [{"site": "futian", "role": "sync-standby"}]}


@pytest.fixture
def observations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The successive outputs of `status`; the last one repeats. Waiting takes no time."""
    answers: list[bytes] = []
    now = [0.0]

    def observe(argv: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(argv, 0, answers.pop(0) if len(answers) > 1 else answers[0])

    monkeypatch.setattr(demo.subprocess, "run", observe)
    monkeypatch.setattr(demo.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(demo.time, "monotonic", lambda: now[0])
    return answers


def test_an_observation_without_a_primary_is_repeated(observations: list[bytes]) -> None:
    observations += [b"", b'{"error": "busy"}', json.dumps(NO_PRIMARY).encode(), json.dumps(MEMBERS).encode()]
    assert demo._site_of_the_primary() == "nanshan"


def test_a_drill_does_not_begin_without_a_primary_for_a_minute(observations: list[bytes]) -> None:
    observations += [json.dumps(NO_PRIMARY).encode()]
    with pytest.raises(GovcloudError, match="no primary was found for 60 s"):
        demo._site_of_the_primary()


def test_ctrl_c_in_a_step_is_130_with_the_next_step(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step prints its own next step. The demo prints both ways to continue."""

    def run(argv: list[str], *, keep: bool) -> tuple[int, bytes]:
        if argv[4] == "up":
            raise KeyboardInterrupt
        return 0, b""

    monkeypatch.setattr(demo.subprocesses, "run_to_completion", run)
    done = call("demo", "--site", "futian")
    assert done.code == 130
    assert "finished steps are kept" in done.stderr
    assert "./govcloud demo" in done.stderr
    assert "./govcloud lab down" in done.stderr
    assert done.stdout == ""
