"""A session whose far end is a local process: how it handles answers, missing answers and unreadable answers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitors.observe.ssh_session import AGENT_COMMAND, MAX_REPLY_BYTES, QueryFailed, SshSession, Stopped, parse_reply

HERE = (sys.executable, *AGENT_COMMAND[1:])
UPTIME = {"timeout_s": 1.0, "queries": {"uptime": {"kind": "text", "path": "/proc/uptime"}}}


@pytest.fixture
def stop() -> Iterator[tuple[int, int]]:
    """Both ends of the pipe that stops all sessions when its writing end is closed."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def far_end(*words: str) -> tuple[str, ...]:
    """Return a shell command as far end."""
    return ("sh", "-c", " ".join(words))


def test_one_process_answers_many_queries(stop: tuple[int, int]) -> None:
    """The process has ended when the session is closed."""
    with SshSession(HERE, stop[0]) as session:
        seen = [float(session.query(UPTIME, 60)["results"]["uptime"]["text"].split()[0]) for _ in range(5)]
        process = session._process
        assert process.poll() is None
    assert seen == sorted(seen)
    assert process.returncode == -signal.SIGKILL


def test_a_query_longer_than_a_pipe_is_sent_completely(stop: tuple[int, int]) -> None:
    """A vantage that reaches many services sends such a query, because each part has the text of the CA certificate."""
    queries = {f"{n}": {"kind": "text", "path": f"/nonexistent/{'x' * 250}/{n}"} for n in range(800)}
    with SshSession(HERE, stop[0]) as session:
        assert session.query({"timeout_s": 1.0, "queries": queries}, 60)["results"].keys() == queries.keys()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (far_end("echo sh: 1: python3: not found >&2; exit 127"), "python3: not found"),
        (far_end("exit 3"), "exit code 3"),
        (far_end("exec 2>&-; read program; read task; exit 4"), "exit code 4"),
        (far_end("echo Welcome to this host; sleep 300"), "not an answer of the agent: 'Welcome to this host'"),
        (far_end("""printf '{"now": 1, "results": []}\\n'; sleep 300"""), "not an answer"),
        (far_end("""printf '[[[[[[\\n'; sleep 300"""), "not an answer"),
        (far_end("tr '\\\\0' x </dev/zero"), f"longer than {MAX_REPLY_BYTES >> 20} MiB"),
        (far_end("printf half of an answer; sleep 300"), "no answer within 2 s"),
        (far_end("yes complaint >&2"), "no answer within 2 s"),
    ],
)
def test_a_missing_or_unreadable_answer_fails_in_bounded_time(
    line: tuple[str, ...], reason: str, stop: tuple[int, int]
) -> None:
    """The error has the reason, and no process is left."""
    begun = time.monotonic()
    with SshSession(line, stop[0]) as session:
        process = session._process
        with pytest.raises(QueryFailed, match=reason):
            session.query(UPTIME, 30 if "within" not in reason else 2)
    assert time.monotonic() - begun < 60
    assert process.returncode is not None


def test_a_far_end_that_has_ended_between_queries_is_reported(stop: tuple[int, int]) -> None:
    """The reason is its exit code or last message, not a broken pipe."""
    with SshSession(HERE, stop[0]) as session:
        session.query(UPTIME, 60)
        session._process.send_signal(signal.SIGTERM)
        session._process.wait(60)
        with pytest.raises(QueryFailed, match="exit code -15"):
            session.query(UPTIME, 60)


def test_a_query_stops_waiting_when_the_watch_ends(stop: tuple[int, int]) -> None:
    """It stops at once, although the far end sends nothing."""
    begun = time.monotonic()
    closing = threading.Timer(0.3, os.close, (stop[1],))
    closing.start()
    with SshSession(far_end("sleep 300"), stop[0]) as session, pytest.raises(Stopped):
        session.query(UPTIME, 200)
    closing.join()
    assert time.monotonic() - begun < 60


def test_ssh_that_cannot_be_started_is_an_error_of_the_system(stop: tuple[int, int], tmp_path: Path) -> None:
    """The constructor raises it, so no session hangs."""
    with pytest.raises(OSError, match="no-ssh"):
        SshSession([str(tmp_path / "no-ssh")], stop[0])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"{}",
        b'{"now": "soon", "results": {}}',
        b'{"now": 1, "results": {"a": 1}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"now": 1, "results": {}}\n{"now": 2, "results": {}}',
    ],
)
def test_only_one_complete_answer_is_accepted(line: bytes) -> None:
    """Two lines at once mean that queries and answers are out of step."""
    with pytest.raises(QueryFailed):
        parse_reply(line)
