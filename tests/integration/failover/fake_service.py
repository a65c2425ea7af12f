"""A small HTTPS server that answers like the service, for tests of the load generator on loopback.

It runs as a process of its own, so that a test can really stall it with SIGSTOP. It keeps its rows in memory and prints
its port when it is ready. `--faults` is a JSON list of `{"from_s", "to_s", "do": "refuse"|"lose"}`, in seconds after
the first application: refuse answers 503 no_primary, lose acknowledges without storing the row.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class State:
    """The rows and faults of the fake service."""

    def __init__(self, faults: list[dict[str, Any]]) -> None:
        self.rows: dict[str, tuple[str, str]] = {}
        self.faults, self.first = faults, 0.0
        self.lock = threading.Lock()

    def fault(self) -> str:
        self.first = self.first or time.monotonic()
        at = time.monotonic() - self.first
        return next((f["do"] for f in self.faults if f["from_s"] <= at < f["to_s"]), "")


class FakeService(BaseHTTPRequestHandler):
    """The three paths that the load generator and the tests use."""

    state: State
    timeout = 10

    def setup(self) -> None:
        # The handshake happens here, in the connection's own thread, so that a slow client does not delay the others.
        self.request.do_handshake()
        super().setup()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        digest = hashlib.sha256(canonical).hexdigest()
        with self.state.lock:
            fault = self.state.fault()
            known = self.state.rows.get(key)
            if fault == "refuse":
                self._answer(503, {"code": "no_primary", "message": "x", "message_en": "x"}, retry_after="1")
                return
            if known and known[0] != digest:
                self._answer(409, {"code": "key_reused", "message": "x", "message_en": "x"})
                return
            if fault != "lose":
                self.state.rows[key] = (digest, "approved")
        self._answer(200 if known else 201, self._decision(key, digest))

    def do_PUT(self) -> None:
        faults = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.state.lock:
            self.state.faults, self.state.first = faults, time.monotonic()
        self._answer(200, {})

    def do_GET(self) -> None:
        if self.path == "/rows.csv":
            lines = ["key,digest,decision", *(f"{k},{d},{x}" for k, (d, x) in self.state.rows.items())]
            self._send(200, ("\n".join(lines) + "\n").encode(), "text/csv", None)
            return
        known = self.state.rows.get(self.path.removeprefix("/v1/applications/"))
        if known:
            self._answer(200, self._decision(self.path[-36:], known[0]))
        else:
            self._answer(404, {"code": "not_found", "message": "x", "message_en": "x"})

    def _decision(self, key: str, digest: str) -> dict[str, Any]:
        return {"key": key, "decision": "approved", "digest": digest, "commit": {"timeline": 1, "lsn": "0/1"}}

    def _answer(self, status: int, value: dict[str, Any], retry_after: str | None = None) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", retry_after)

    def _send(self, status: int, data: bytes, kind: str, retry_after: str | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Govcloud-Site", "futian")
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """A server with a long accept queue: connections wait, as on a stalled machine."""

    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: clients that give up are part of the test."""


class Server6(Server):
    """The same server on IPv6."""

    address_family = socket.AF_INET6


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--certificate", required=True)
    options.add_argument("--key", required=True)
    options.add_argument("--faults", default="[]")
    chosen = options.parse_args()
    FakeService.state = State(json.loads(chosen.faults))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chosen.certificate, chosen.key)
    four = Server(("127.0.0.1", 0), FakeService)
    six = Server6(("::1", four.server_address[1]), FakeService)
    for server in (four, six):
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(four.server_address[1], flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
