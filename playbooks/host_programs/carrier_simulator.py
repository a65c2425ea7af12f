#!/usr/bin/python3
# ruff: noqa: PTH123, SIM115
"""A simulator of a carrier for text messages: it accepts messages over HTTP, records them durably, and sends receipts.

    carrier-simulator --listen 0.0.0.0:8070 --control 127.0.0.1:8071 --state /var/lib/carrier-simulator

No message ever leaves it. The first address is the carrier's interface (`POST /v1/messages`), as in
`services/messages/src/messages/carrier.py`. The second address is for tests:

    GET  /stats       {"accepted": 3, "distinct": 2, "receipts": 2, "mode": "normal", ...}
    GET  /accepted    all accepted messages, one JSON object per line
    PUT  /mode        {"mode": "slow", "delay_s": 3}

The modes:

- `normal`: accept at once;
- `slow`: accept after `delay_s` seconds;
- `down`: close each connection without an answer and accept nothing;
- `busy`: answer 503 with Retry-After;
- `accept-twice`: accept the first attempt of each message, close the connection without an answer, and accept the
  second attempt as well.

The mode survives a restart. Receipts of accepted messages are sent until the receiver answers, also after a restart.
Numbers that end with 9999 get the receipt "failed".
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODES = ("normal", "slow", "down", "busy", "accept-twice")
LARGEST_BODY = 16 * 1024
LONGEST_TEXT = 500
RECEIPT_TIMEOUT_S = 5.0
RECEIPT_RETRY_S = 1.0
UNREACHABLE = "9999"


class Journal:
    """The accepted messages and the finished receipts: one JSON object per line, on the disk before an answer."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._mode_path = folder / "journal.jsonl", folder / "mode.json"
        self._lock = threading.Lock()
        self.accepted: list[dict[str, Any]] = []
        self.times: Counter[str] = Counter()
        self.receipts = 0
        self.tls = ssl.create_default_context()
        unfinished: dict[int, dict[str, Any]] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line of a crash: its message was never answered
            if entry["kind"] == "accepted":
                self._note(entry)
                unfinished[entry["number"]] = entry
            else:
                self.receipts += 1
                unfinished.pop(entry["number"], None)
        self.unfinished = [entry for entry in unfinished.values() if entry["receipt"]]
        self._file = open(self._path, "a", encoding="utf-8")
        self.mode: dict[str, Any] = {"mode": "normal", "delay_s": 0.0}
        if self._mode_path.exists():
            self.mode = json.loads(self._mode_path.read_text(encoding="utf-8"))

    def _note(self, entry: dict[str, Any]) -> None:
        self.accepted.append(entry)
        self.times[entry["message_id"]] += 1

    def accept(self, message: dict[str, Any]) -> dict[str, Any]:
        """Record an accepted message and return its entry."""
        with self._lock:
            entry = {
                "kind": "accepted",
                "number": len(self.accepted) + 1,
                "at": time.time(),
                "message_id": message["message_id"],
                "to": message["to"],
                "text": message["text"],
                "receipt": message.get("receipt"),
            }
            self._write(entry)
            self._note(entry)
            return entry

    def finish_receipt(self, entry: dict[str, Any], status: int | None) -> None:
        """Record that a receipt needs no further attempt."""
        with self._lock:
            self._write({"kind": "receipt", "number": entry["number"], "status": status, "at": time.time()})
            self.receipts += 1

    def set_mode(self, mode: dict[str, Any]) -> None:
        """Change the mode, also for the time after a restart."""
        with self._lock:
            fresh = self._mode_path.with_suffix(".new")
            fresh.write_text(json.dumps(mode), encoding="utf-8")
            fresh.replace(self._mode_path)
            self.mode = mode

    def stats(self) -> dict[str, Any]:
        """Return the counts and the mode."""
        with self._lock:
            distinct = len(self.times)
            return {"accepted": len(self.accepted), "distinct": distinct, "receipts": self.receipts, **self.mode}

    def snapshot(self) -> list[dict[str, Any]]:
        """Return all accepted messages."""
        with self._lock:
            return list(self.accepted)

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def problem_of(message: Any, key: str | None) -> str | None:
    """Return why a message is refused, or None."""
    if not isinstance(message, dict):
        return "not an object"
    texts = [message.get(name) for name in ("message_id", "to", "text")]
    if not all(isinstance(text, str) and text for text in texts):
        return "message_id, to and text are required"
    if message["message_id"] != key:
        return "Idempotency-Key is not the message_id"
    if not re.fullmatch(r"\+861[3-9][0-9]{9}", message["to"]):
        return "to is not a mobile number"
    if len(message["text"]) > LONGEST_TEXT:
        return "text is too long"
    return None


class Handler(BaseHTTPRequestHandler):
    """Common parts of both interfaces."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    journal: Journal

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write no log: the journal has everything."""

    def answer(self, status: int, document: Any, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send a JSON answer."""
        body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def body(self) -> Any:
        """Return the JSON body. Raise ValueError if there is none."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LARGEST_BODY:
            raise ValueError("no body, or a too large one")
        return json.loads(self.rfile.read(length))


class CarrierHandler(Handler):
    """The carrier's interface."""

    def do_POST(self) -> None:
        """Accept or refuse one message, by the mode."""
        mode = dict(self.journal.mode)
        if mode["mode"] == "down":
            self.drop()
            return
        try:
            message = self.body()
        except ValueError as error:
            self.answer(400, {"error": str(error)})
            return
        if self.path != "/v1/messages":
            self.answer(404, {"error": "unknown path"})
        elif not re.fullmatch(r"Bearer \S+", self.headers.get("Authorization") or ""):
            self.answer(401, {"error": "no token"})
        elif problem := problem_of(message, self.headers.get("Idempotency-Key")):
            self.answer(400, {"error": problem})
        elif mode["mode"] == "busy":
            self.answer(503, {"error": "busy"}, (("Retry-After", "1"),))
        else:
            self.take(message, mode)

    def take(self, message: dict[str, Any], mode: dict[str, Any]) -> None:
        """Accept a message."""
        if mode["mode"] == "slow":
            time.sleep(float(mode.get("delay_s", 1.0)))
        first = message["message_id"] not in self.journal.times
        entry = self.journal.accept(message)
        if entry["receipt"]:
            threading.Thread(target=send_receipt, args=(self.journal, entry), daemon=True).start()
        if mode["mode"] == "accept-twice" and first:
            self.drop()
        else:
            self.answer(202, {"status": "accepted", "duplicate": not first})


class ControlHandler(Handler):
    """The interface for tests."""

    def do_GET(self) -> None:
        """Return the counts, or all accepted messages."""
        if self.path == "/stats":
            self.answer(200, self.journal.stats())
        elif self.path == "/accepted":
            lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.journal.snapshot())
            self.answer(200, "".join(lines).encode())
        else:
            self.answer(404, {"error": "unknown path"})

    def do_PUT(self) -> None:
        """Change the mode."""
        try:
            wanted = self.body()
            delay_s = float(wanted.get("delay_s", 0.0))
            if self.path != "/mode" or wanted["mode"] not in MODES or not 0 <= delay_s <= 60:
                raise ValueError(f"the modes are {', '.join(MODES)}")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            self.answer(400, {"error": str(error)})
            return
        self.journal.set_mode({"mode": wanted["mode"], "delay_s": delay_s})
        self.answer(200, self.journal.stats())


def send_receipt(journal: Journal, entry: dict[str, Any]) -> None:
    """Send the receipt of one accepted message until the receiver answers with 2xx or 4xx."""
    failed = entry["to"].endswith(UNREACHABLE)
    receipt = {
        "message_id": entry["message_id"],
        "state": "failed" if failed else "delivered",
        "context": entry["receipt"]["context"],
    }
    if failed:
        receipt["reason"] = "absent"
    request = urllib.request.Request(
        entry["receipt"]["url"],
        data=json.dumps(receipt).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=journal.tls))
    opener = urllib.request.build_opener(*handlers)
    while True:
        try:
            with opener.open(request, timeout=RECEIPT_TIMEOUT_S) as response:
                status = response.status
            break
        except urllib.error.HTTPError as error:
            error.close()
            if 400 <= error.code < 500:
                status = error.code
                break
        except OSError:
            pass
        time.sleep(RECEIPT_RETRY_S)
    journal.finish_receipt(entry, status)


class Server(ThreadingHTTPServer):
    """A threading server for both address families."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def address(text: str) -> tuple[str, int]:
    """Parse `host:port` or `[host]:port`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main(argv: list[str] | None = None) -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="carrier-simulator", description="A simulated carrier for text messages.")
    parser.add_argument("--listen", type=address, required=True, help="address of the carrier's interface")
    parser.add_argument("--control", type=address, required=True, help="address of the interface for tests")
    parser.add_argument("--state", type=Path, required=True, help="folder of the journal and the mode")
    parser.add_argument("--unverified-receipts", action="store_true", help="accept every certificate of the receiver")
    arguments = parser.parse_args(argv)
    journal = Journal(arguments.state)
    if arguments.unverified_receipts:
        journal.tls.check_hostname = False
        journal.tls.verify_mode = ssl.CERT_NONE
    Handler.journal = journal
    for entry in journal.unfinished:
        threading.Thread(target=send_receipt, args=(journal, entry), daemon=True).start()
    control = Server(arguments.control, ControlHandler)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    Server(arguments.listen, CarrierHandler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
