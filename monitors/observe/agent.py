"""Runs on a host: for each line on standard input, asks what the line says, all at once, and answers with a line.

Sent over ssh, see `ssh_session.py`, so nothing has to be installed. Python's own library only, 3.9 or later. It
knows no service: a query is a command, an HTTPS request or a file; what an answer means is decided by the sender.
It ends when its input does, and when nothing has come for `IDLE_S`.
"""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

Query = dict[str, Any]
Result = dict[str, Any]
FileVersion = tuple[str, tuple[int, ...]]
"""A file's path and what differs when it has changed; an empty path where the query names none."""

MAX_BODY_BYTES = 1 << 20
IDLE_S = 60
"""Where the way to the sender is cut silently, sshd notices after two minutes by the estate's settings."""


def command(query: Query, timeout_s: float) -> Result:
    """Exit code and output; `error` where it could not be run or took too long."""
    try:
        done = subprocess.run(
            query["argv"], capture_output=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {timeout_s:g} s"}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    return {
        "code": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "err": done.stderr.decode(errors="replace")[-300:],
    }


def ssl_context(query: Query) -> ssl.SSLContext:
    """What a query is verified by: made once, and anew when one of its files has changed."""
    names = ("ca_file", "cert_file", "key_file")
    files = tuple((query[name], file_version(query[name])) if query.get(name) else ("", ()) for name in names)
    return load_ssl_context(*files, query.get("ca_text") or "")


def file_version(path: str) -> tuple[int, ...]:
    """Differs when the file at `path` is another one than before. Raises OSError where there is none."""
    found = Path(path).stat()
    return (found.st_mtime_ns, found.st_ino, found.st_size)


@lru_cache(maxsize=8)
def load_ssl_context(ca: FileVersion, cert: FileVersion, key: FileVersion, ca_text: str) -> ssl.SSLContext:
    """Making one costs more than asking over it."""
    context = ssl.create_default_context(cafile=ca[0] or None, cadata=ca_text or None)
    if cert[0]:
        context.load_cert_chain(cert[0], key[0])
    return context


def https(query: Query, timeout_s: float) -> Result:
    """Status, headers and body over a verified connection to `address`, whatever the name resolves to."""
    begun = time.monotonic()
    end = begun + timeout_s
    try:
        context = ssl_context(query)
        raw = socket.create_connection((query["address"], query["port"]), timeout=timeout_s)
        # Not HTTPSConnection: it reads all of the system's authorities for a context of its own, twenty milliseconds.
        connection = http.client.HTTPConnection(query["name"], query["port"])
        raw.settimeout(max(0.1, end - time.monotonic()))
        connection.sock = context.wrap_socket(raw, server_hostname=query["name"])
        try:
            connection.sock.settimeout(max(0.1, end - time.monotonic()))
            connection.request(query.get("method", "GET"), query["path"], body=query.get("body"))
            answer = connection.getresponse()
            body = answer.read(MAX_BODY_BYTES).decode(errors="replace")
            headers = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return {"error": str(reason), "seconds": time.monotonic() - begun}
    return {"status": answer.status, "headers": headers, "body": body, "seconds": time.monotonic() - begun}


def text(query: Query, timeout_s: float) -> Result:
    """A file's text."""
    try:
        return {"text": Path(query["path"]).read_text(encoding="utf-8")}
    except OSError as error:
        return {"error": error.strerror or str(error)}


KINDS = {"command": command, "https": https, "text": text}


def run_queries(task: dict[str, Any]) -> dict[str, Any]:
    """What every query of `task` gives: {"timeout_s": float, "queries": {name: query}}."""
    queries, timeout_s = task["queries"], task["timeout_s"]
    with ThreadPoolExecutor(max_workers=max(1, len(queries))) as pool:
        futures = {name: pool.submit(KINDS[q["kind"]], q, timeout_s) for name, q in queries.items()}
        found = {name: future.result() for name, future in futures.items()}
    return {"now": time.time(), "results": found}


def serve() -> None:
    """Answer line by line. The alarm is never caught: it ends the process whatever holds it up."""
    signal.alarm(IDLE_S)
    for line in sys.stdin:
        signal.alarm(IDLE_S)
        try:
            sys.stdout.write(json.dumps(run_queries(json.loads(line))) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # nobody is left to tell
            os._exit(0)
