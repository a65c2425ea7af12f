"""A lasting way to ask one host: an ssh process whose far end, `agent.py`, answers a line with a line.

A session that gave no answer in time, or none that can be read, is of no more use: a late answer would be taken for
that of the next query. Its owner closes it and opens another.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

AGENT = Path(__file__).with_name("agent.py")
AGENT_COMMAND = ("python3", "-Iuc", "import json, sys; exec(json.loads(sys.stdin.readline()))")
"""What is started on the host. The program itself is the first line that it reads, so that a list of processes shows
this much only."""

MAX_REPLY_BYTES = 8 << 20
"""In bytes. A border router with a full table summarises itself in well under one MiB."""
KEPT_STDERR_BYTES = 300
"""Of what ssh and the host say on standard error, the last bytes."""


class QueryFailed(Exception):
    """The host did not answer, with the reason."""


class Stopped(Exception):
    """Nobody wants the answer any more."""


class SshSession:
    """One ssh process, in a process group of its own so that Ctrl-C in the terminal does not reach it: who opened it
    ends it. `line` starts `AGENT_COMMAND` on the host. `stop` is a descriptor that becomes readable when nobody wants
    answers any more. Raises OSError when ssh cannot be started."""

    def __init__(self, line: Sequence[str], stop: int) -> None:
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, process_group=0
        )
        self._to, self._from, self._stderr = (_pipe(self._process, name) for name in ("stdin", "stdout", "stderr"))
        self._stop, self._ready = stop, selectors.PollSelector()
        for descriptor in (self._from, self._stderr, stop):
            self._ready.register(descriptor, selectors.EVENT_READ)
        self._unsent = _line(AGENT.read_text(encoding="utf-8") + "\n\nserve()\n")
        self._stderr_tail = b""

    def __enter__(self) -> SshSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it at once. On the host the program ends with its input."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        self._process.wait()
        self._ready.close()

    def query(self, task: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The reply of `agent.run_queries`. Raises QueryFailed, after which the session must be closed, and Stopped."""
        end = time.monotonic() + timeout_s
        self._unsent += _line(task)
        self._ready.register(self._to, selectors.EVENT_WRITE)
        return parse_reply(self._read_reply(end, timeout_s))

    def _read_reply(self, end: float, timeout_s: float) -> bytes:
        got = bytearray()
        while not got.endswith(b"\n"):
            ready = {key.fd for key, _ in self._ready.select(max(0.0, end - time.monotonic()))}
            if self._stop in ready:
                raise Stopped
            if not ready:
                raise QueryFailed(f"no answer within {timeout_s:g} s")
            if self._to in ready:
                self._send()
            if self._stderr in ready:
                self._read_stderr()
            if self._from in ready:
                said = os.read(self._from, 1 << 16)
                if not said:
                    raise QueryFailed(self._why_ended())
                got += said
            if len(got) > MAX_REPLY_BYTES:
                raise QueryFailed(f"an answer longer than {MAX_REPLY_BYTES >> 20} MiB")
        return bytes(got)

    def _send(self) -> None:
        """As much of the query as ssh takes now."""
        try:
            self._unsent = self._unsent[os.write(self._to, self._unsent) :]
        except BrokenPipeError:  # it has ended; why is told where its answer is read
            self._unsent = b""
        if not self._unsent:
            self._ready.unregister(self._to)

    def _read_stderr(self) -> bool:
        """Whether there was one; at its end it is listened to no longer."""
        said = os.read(self._stderr, 1 << 16)
        if not said:
            self._ready.unregister(self._stderr)
        self._stderr_tail = (self._stderr_tail + said)[-KEPT_STDERR_BYTES:]
        return bool(said)

    def _why_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        with suppress(BlockingIOError, KeyError):
            while self._read_stderr():
                pass
        words = self._stderr_tail.decode(errors="replace").strip().splitlines()
        return words[-1] if words else f"ssh ended with exit code {self._process.poll()}"


def parse_reply(line: bytes) -> dict[str, Any]:
    """What a host's line says. Raises QueryFailed when it is not what `agent.run_queries` makes."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and isinstance(said.get("now"), int | float) and _all_objects(said.get("results")):
        return said
    raise QueryFailed(f"something that is no answer: {line[:80].decode(errors='replace').strip()!r}")


def _all_objects(results: Any) -> bool:
    return isinstance(results, dict) and all(isinstance(result, dict) for result in results.values())


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _pipe(process: subprocess.Popen[bytes], name: str) -> int:
    """The descriptor of our end of a pipe. A full one must not hold up its thread: nothing would end that."""
    descriptor = int(getattr(process, name).fileno())
    os.set_blocking(descriptor, False)
    return descriptor
