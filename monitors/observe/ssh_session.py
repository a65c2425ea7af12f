"""A long-lived session with one host: an ssh process that runs `agent.py` there, which answers each line with a line.

After a timeout or an unreadable answer the session is useless: a late answer would be mistaken for the answer to the
next query. The caller must close it and open another one.
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
from typing import Any, Self

AGENT = Path(__file__).with_name("agent.py")
AGENT_COMMAND = ("python3", "-Iuc", "import json, sys; exec(json.loads(sys.stdin.readline()))")
"""The command that ssh starts on the host. It reads the agent's source as its first line of input, so that a list of
processes shows only this short command."""

MAX_REPLY_BYTES = 8 << 20
"""A longer reply is an error. The BGP summary of a border router with a full table is well below one MiB."""
KEPT_STDERR_BYTES = 300
"""The session keeps this many last bytes of the standard error of ssh and of the host."""


class QueryFailed(Exception):
    """The host did not answer the queries. The message is the reason."""


class Stopped(Exception):
    """The watch has ended, so the answer is no longer needed."""


class SshSession:
    """One ssh process. It has its own process group, so Ctrl-C in the terminal does not reach it: its opener ends it.

    `line` is the ssh command that starts `AGENT_COMMAND` on the host. `stop` is a descriptor that becomes readable when
    the watch ends. The constructor raises OSError if ssh cannot be started.
    """

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill ssh at once. The agent on the host ends when its input ends."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        self._process.wait()
        self._ready.close()

    def query(self, task: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the reply of `agent.run_queries`.

        Raise Stopped, or QueryFailed; after QueryFailed the caller must close the session.
        """
        end = time.monotonic() + timeout_s
        self._unsent += _line(task)
        self._ready.register(self._to, selectors.EVENT_WRITE)
        return parse_reply(self._read_reply(end, timeout_s))

    def _read_reply(self, end: float, timeout_s: float) -> bytes:
        received = bytearray()
        while not received.endswith(b"\n"):
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
                chunk = os.read(self._from, 1 << 16)
                if not chunk:
                    raise QueryFailed(self._why_ended())
                received += chunk
            if len(received) > MAX_REPLY_BYTES:
                raise QueryFailed(f"an answer longer than {MAX_REPLY_BYTES >> 20} MiB")
        return bytes(received)

    def _send(self) -> None:
        """Write as much of the query as ssh accepts now."""
        try:
            self._unsent = self._unsent[os.write(self._to, self._unsent) :]
        except BrokenPipeError:  # ssh has ended; `_read_reply` reports the reason
            self._unsent = b""
        if not self._unsent:
            self._ready.unregister(self._to)

    def _read_stderr(self) -> bool:
        """Read from standard error and return whether there was data. Stop polling it at its end."""
        chunk = os.read(self._stderr, 1 << 16)
        if not chunk:
            self._ready.unregister(self._stderr)
        self._stderr_tail = (self._stderr_tail + chunk)[-KEPT_STDERR_BYTES:]
        return bool(chunk)

    def _why_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        with suppress(BlockingIOError, KeyError):
            while self._read_stderr():
                pass
        lines = self._stderr_tail.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ssh ended with exit code {self._process.poll()}"


def parse_reply(line: bytes) -> dict[str, Any]:
    """Parse a host's line. Raise QueryFailed if it does not have the shape of a result of `agent.run_queries`."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict) and isinstance(reply.get("now"), int | float) and _all_objects(reply.get("results")):
        return reply
    raise QueryFailed(f"not an answer of the agent: {line[:80].decode(errors='replace').strip()!r}")


def _all_objects(results: Any) -> bool:
    return isinstance(results, dict) and all(isinstance(result, dict) for result in results.values())


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _pipe(process: subprocess.Popen[bytes], name: str) -> int:
    """Return the descriptor of our end of a pipe, non-blocking: a full pipe would block its thread for ever."""
    descriptor = int(getattr(process, name).fileno())
    os.set_blocking(descriptor, False)
    return descriptor
