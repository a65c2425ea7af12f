"""Requests as bytes that no HTTP library would send, each with the status and code of its refusal."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse

KEY = "6f1f7b2e-3c55-4b8e-9d0a-0c4f1f0e2a11"
APPLICATIONS = b"/v1/applications"
UPGRADE = "Connection: Upgrade"
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """One raw request. If `is_http` is false, HAProxy refuses it with its own page: it is not HTTP, or too long."""

    name: str
    data: bytes
    status: int
    code: str
    is_http: bool = True


def request(
    method: str = "POST", target: bytes = APPLICATIONS, *headers: str, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """Build a request with a key. Add Content-Length only if there is a body and `headers` do not set its length."""
    lines = [f"{method} ".encode() + target + f" HTTP/{version}".encode(), b"Host: a"]
    lines += [header.encode("latin-1") for header in headers]
    if not any(header.startswith("Idempotency-Key") for header in headers):
        lines.append(f"Idempotency-Key: {KEY}".encode())
    if body and not any(header.startswith(("Content-Length", "Transfer-Encoding")) for header in headers):
        lines.append(f"Content-Length: {len(body)}".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _case(name: str, data: bytes, status: int, code: str) -> RawRequest:
    return RawRequest(name=name, data=data, status=status, code=code)


def _of(key: bytes) -> bytes:
    return request("GET", APPLICATIONS + b"/" + key)


def _no_http(name: str, data: bytes, status: int = 400, code: str = "request_refused") -> RawRequest:
    return RawRequest(name=name, data=data, status=status, code=code, is_http=False)


WEBSOCKET = (UPGRADE, "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
RAW_REQUESTS = (
    _case("a web socket", request("GET", b"/nowhere", *WEBSOCKET), 404, "path_unknown"),
    _case("HTTP/2 without TLS", request("GET", b"/nowhere", UPGRADE, "Upgrade: h2c"), 404, "path_unknown"),
    _case("HTTP/1.0", request(body=b"{}", version="1.0"), 422, "field_missing"),
    _case("HTTP/1.0 without a length", request(version="1.0"), 400, "body_malformed"),
    _case("a method of its own", request("BREW", b"/"), 400, "request_refused"),
    _case("a method in small letters", request("post", body=b"{}"), 400, "request_refused"),
    _case("CONNECT", request("CONNECT", b"a:443"), 400, "request_refused"),
    _case("TRACE", request("TRACE"), 405, "method_not_allowed"),
    _case("OPTIONS of all", request("OPTIONS", b"*"), 404, "path_unknown"),
    _case("a path that ends with a slash", request("POST", APPLICATIONS + b"/", body=b"{}"), 404, "path_unknown"),
    _case("a path that goes up", request("GET", b"/v1/../../etc/passwd"), 404, "path_unknown"),
    _case("a key that goes up", _of(b"..%2f..%2fetc"), 404, "path_unknown"),
    _case("a key of NUL", _of(b"%00"), 400, "key_invalid"),
    _case("a key with a new line", _of(KEY.encode() + b"%0d%0aX:%20y"), 400, "key_invalid"),
    _case("a key that is half escaped", _of(b"%zz%"), 400, "key_invalid"),
    _case("a key in no UTF-8", _of(b"%ff%fe"), 400, "key_invalid"),
    _case("a lone surrogate for a key", _of(b"%ed%a0%80"), 400, "key_invalid"),
    _case("a key of 4 000", _of(b"a" * 4000), 400, "key_invalid"),
    _case("a key's header of 5 000", request("POST", APPLICATIONS, f"Idempotency-Key: {'1' * 5000}", body=b"{}"),
          400, "key_invalid"),
    _case("two keys", request("POST", APPLICATIONS, f"Idempotency-Key: {KEY}", f"Idempotency-Key: {KEY[:-1]}2",
                              body=b"{}"), 400, "key_invalid"),
    _case("a query of 8 000", request("GET", b"/nowhere?" + b"a" * 8000), 404, "path_unknown"),
    _case("NUL in a header", request("GET", b"/nowhere", "X-A: a\0b"), 400, "request_refused"),
    _case("a type in UTF-8", request("POST", APPLICATIONS, "Content-Type: \xe5\xbc\xa0", body=b"{}"),
          415, "content_type"),
    _case("an expectation", request("POST", APPLICATIONS, "Expect: tea", body=b"{}"), 422, "field_missing"),
    _case("a trailer", request("POST", APPLICATIONS, CHUNKED, body=b"2\r\n{}\r\n0\r\nX-T: y\r\n\r\n"),
          422, "field_missing"),
    _no_http("no HTTP at all", b"hello\r\n\r\n"),
    _no_http("zeros", b"\0\1\2\3\r\n\r\n"),
    _no_http("a path in UTF-8", request("GET", b"/\xe5\xbc\xa0")),
    _no_http("a query of 1 MB", request("GET", b"/nowhere?" + b"a" * 1_000_000), 431, "head_too_large"),
    _no_http("a header of 5 MB", request("GET", b"/nowhere", "X-A: " + "a" * 5_000_000), 431, "head_too_large"),
    _no_http("a header without a colon", request("GET", b"/nowhere", "nonsense")),
    _no_http("two lengths", request("POST", APPLICATIONS, "Content-Length: 5", "Content-Length: 2", body=b"{}")),
    _no_http("a negative length", request("POST", APPLICATIONS, "Content-Length: -5")),
    _no_http("a length of 30 digits", request("POST", APPLICATIONS, f"Content-Length: {'9' * 30}", body=b"{}")),
    _no_http("an unknown transfer", request("POST", APPLICATIONS, "Transfer-Encoding: x", body=b"2\r\n{}\r\n")),
    _no_http("a broken chunk", request("POST", APPLICATIONS, CHUNKED, body=b"ZZ\r\n{}\r\n")),
    _no_http("a chunk of 17 digits", request("POST", APPLICATIONS, CHUNKED, body=b"f" * 17 + b"\r\n{}\r\n")),
)  # fmt: skip

STALLED = (
    _case("half a body", request("POST", APPLICATIONS, "Content-Length: 50", body=b"{}"), 408, "too_slow"),
    _case("a body of 10 GB that does not come", request("POST", APPLICATIONS, "Content-Length: 9999999999", body=b"{"),
          408, "too_slow"),
    _case("chunks without an end", request("POST", APPLICATIONS, CHUNKED, body=b"2\r\n{}\r\n"), 408, "too_slow"),
    _no_http("half a head", b"GET /nowhere HTTP/1.1\r\nHost: a\r\nX-A: ", 408, "too_slow"),
    _no_http("nothing", b"", 408, "too_slow"),
)  # fmt: skip
ENDLESS = request("POST", APPLICATIONS, CHUNKED) + (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 2000
"""The first 128 MB of a request without an end."""


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return status and body of the next answer on the connection."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def sent(connection: socket.socket, data: bytes) -> None:
    """Send the data, or only a part if the other side refuses the request and closes the connection early."""
    try:
        connection.sendall(data)
    except OSError:
        return


def waited_for(
    cases: Iterable[RawRequest], connect: Callable[[], socket.socket]
) -> Iterator[tuple[RawRequest, socket.socket, tuple[int, bytes]]]:
    """Begin all requests at once, so that all timeouts end together. Yield each with its connection and answer."""
    waiting = [(case, connect()) for case in cases]
    for case, stalled in waiting:
        stalled.sendall(case.data)
    for case, stalled in waiting:
        with stalled:
            yield case, stalled, answer(stalled)


def explained(body: bytes) -> str:
    """Return the code of a refusal, and check that its message is in Chinese."""
    refusal = json.loads(body)
    assert any("\u4e00" <= character <= "\u9fff" for character in refusal["message"])
    return str(refusal["code"])
