"""A channel whose far end is a process here: what it does with answers, with none, and with what is no answer."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitors.observe.channel import LONGEST_ANSWER, SERVE, Channel, NoAnswer, Stopped, understood

HERE = (sys.executable, *SERVE[1:])
UPTIME = {"timeout_s": 1.0, "questions": {"uptime": {"kind": "text", "path": "/proc/uptime"}}}


@pytest.fixture
def stop() -> Iterator[tuple[int, int]]:
    """Both ends of the pipe by which everybody is told to stop."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def far_end(*words: str) -> tuple[str, ...]:
    """A shell as far end."""
    return ("sh", "-c", " ".join(words))


def test_one_process_answers_many_questions(stop: tuple[int, int]) -> None:
    """And it has ended when the channel is closed."""
    with Channel(HERE, stop[0]) as channel:
        seen = [float(channel.ask(UPTIME, 60)["answers"]["uptime"]["text"].split()[0]) for _ in range(5)]
        process = channel._process
        assert process.poll() is None
    assert seen == sorted(seen)
    assert process.returncode == -signal.SIGKILL


def test_a_question_longer_than_a_pipe_is_asked_whole(stop: tuple[int, int]) -> None:
    """As a vantage's are, when it asks for many services by the authority's text."""
    questions = {f"{n}": {"kind": "text", "path": f"/nonexistent/{'x' * 250}/{n}"} for n in range(800)}
    with Channel(HERE, stop[0]) as channel:
        assert channel.ask({"timeout_s": 1.0, "questions": questions}, 60)["answers"].keys() == questions.keys()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (far_end("echo sh: 1: python3: not found >&2; exit 127"), "python3: not found"),
        (far_end("exit 3"), "exit code 3"),
        (far_end("exec 2>&-; read program; read task; exit 4"), "exit code 4"),
        (far_end("echo Welcome to this host; sleep 300"), "no answer: 'Welcome to this host'"),
        (far_end("""printf '{"now": 1, "answers": []}\\n'; sleep 300"""), "no answer"),
        (far_end("""printf '[[[[[[\\n'; sleep 300"""), "no answer"),
        (far_end("tr '\\\\0' x </dev/zero"), f"longer than {LONGEST_ANSWER >> 20} MiB"),
        (far_end("printf half of an answer; sleep 300"), "no answer within 2 s"),
        (far_end("yes complaint >&2"), "no answer within 2 s"),
    ],
)
def test_whatever_is_no_answer_is_told_in_bounded_time(
    line: tuple[str, ...], reason: str, stop: tuple[int, int]
) -> None:
    """And leaves no process."""
    begun = time.monotonic()
    with Channel(line, stop[0]) as channel:
        process = channel._process
        with pytest.raises(NoAnswer, match=reason):
            channel.ask(UPTIME, 30 if "within" not in reason else 2)
    assert time.monotonic() - begun < 60
    assert process.returncode is not None


def test_a_far_end_that_has_ended_between_questions_is_told(stop: tuple[int, int]) -> None:
    """Not as a broken pipe: the reason is what it said last."""
    with Channel(HERE, stop[0]) as channel:
        channel.ask(UPTIME, 60)
        channel._process.send_signal(signal.SIGTERM)
        channel._process.wait(60)
        with pytest.raises(NoAnswer, match="exit code -15"):
            channel.ask(UPTIME, 60)


def test_who_waits_for_an_answer_stops_when_nobody_wants_it(stop: tuple[int, int]) -> None:
    """At once, although the far end says nothing."""
    begun = time.monotonic()
    closing = threading.Timer(0.3, os.close, (stop[1],))
    closing.start()
    with Channel(far_end("sleep 300"), stop[0]) as channel, pytest.raises(Stopped):
        channel.ask(UPTIME, 200)
    closing.join()
    assert time.monotonic() - begun < 60


def test_ssh_that_cannot_be_started_is_an_error_of_the_system(stop: tuple[int, int], tmp_path: Path) -> None:
    """Not a hanging channel."""
    with pytest.raises(OSError, match="no-ssh"):
        Channel([str(tmp_path / "no-ssh")], stop[0])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"{}",
        b'{"now": "soon", "answers": {}}',
        b'{"now": 1, "answers": {"a": 1}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"now": 1, "answers": {}}\n{"now": 2, "answers": {}}',
    ],
)
def test_only_one_whole_answer_is_understood(line: bytes) -> None:
    """Two lines at once mean that the channel has lost its step."""
    with pytest.raises(NoAnswer):
        understood(line)
