"""What is refused before it is a request: with the words of all other refusals, and within limits of size and time."""

import asyncio
import http
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from approval.problems import Problem

MAX_HEAD_BYTES = 32 * 1024
HEAD_TIMEOUT_S = 10.0


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. The server bounds neither size nor time of a request's head; here both are."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of who connects a request is expected."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited of who is gone."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or of several; bytes count where they neither begin a head nor end it."""
        awaited = self._head_timer
        super().data_received(data)
        if awaited is not None and self._head_timer is awaited:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("head_too_large")

    def on_message_begin(self) -> None:
        """The first byte of a request, also of the next one on a connection."""
        super().on_message_begin()
        self._start_head_timer()

    def on_headers_complete(self) -> None:
        """The head has come; for the body the service has its own patience."""
        self._stop_head_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """In place of the server's own words, for what it cannot read as HTTP."""
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
    """The whole answer of a connection that ends with it."""
    body = json.dumps(problem.body(), ensure_ascii=False).encode()
    status = http.HTTPStatus(problem.explanation.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body
