"""HTTP protocol of one connection: limits size and time of a request's head, and refuses bytes that are not HTTP.

These refusals have the same form as all others.
"""

import asyncio
import http
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from approval.problems import Problem

MAX_HEAD_BYTES = 32 * 1024
HEAD_TIMEOUT_S = 10.0


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. uvicorn limits neither the size nor the time of a request's head, so this class does."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the request's head when a client connects."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer when the client has disconnected."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle bytes of one or several requests. Count them if they neither begin nor complete a head."""
        timer = self._head_timer
        super().data_received(data)
        if timer is not None and self._head_timer is timer:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("head_too_large")

    def on_message_begin(self) -> None:
        """Start the timer at the first byte of each request on the connection."""
        super().on_message_begin()
        self._start_head_timer()

    def on_headers_complete(self) -> None:
        """Stop the timer when the head is complete. `web.read_body` has its own timeout for the body."""
        self._stop_head_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP, with our own body instead of uvicorn's."""
        self._refuse("request_refused")

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, "too_slow")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, code: str) -> None:
        self._stop_head_timer()
        if not self.transport.is_closing():
            self.transport.write(refusal(Problem(code)))
            self.transport.close()


def refusal(problem: Problem) -> bytes:
    """Return the complete response bytes. The connection closes after them."""
    body = json.dumps(problem.body(), ensure_ascii=False).encode()
    status = http.HTTPStatus(problem.explanation.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body
