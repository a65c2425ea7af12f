"""Agent on a host: for each line on standard input it runs the queries in the line concurrently and prints one line.

`ssh_session.py` sends this source over ssh, so nothing has to be installed. It uses only Python's standard library and
runs on 3.11 or later. It knows no service: a query is a command, an HTTPS request or a file, and the sender interprets
the results. The agent ends at the end of its input, or after `IDLE_S` without input.
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
"""A file's path and its version, see `file_version`. The path is empty if the query names no file."""

MAX_BODY_BYTES = 1 << 20
IDLE_S = 60
"""In seconds. If the connection to the sender is cut silently, sshd notices it only after two minutes with the estate's
settings."""


def command(query: Query, timeout_s: float) -> Result:
    """Run a command and return its exit code and output, or `error` if it cannot be run or takes too long."""
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
    """Return the TLS context of a query. It is cached and created again when one of its files has changed."""
    names = ("ca_file", "cert_file", "key_file")
    files = tuple((query[name], file_version(query[name])) if query.get(name) else ("", ()) for name in names)
    return load_ssl_context(*files, query.get("ca_text") or "")


def file_version(path: str) -> tuple[int, ...]:
    """Return a value that changes when the file at `path` is replaced or written. Raise OSError if it is missing."""
    found = Path(path).stat()
    return (found.st_mtime_ns, found.st_ino, found.st_size)


@lru_cache(maxsize=8)
def load_ssl_context(ca: FileVersion, cert: FileVersion, key: FileVersion, ca_text: str) -> ssl.SSLContext:
    """Create a TLS context. The result is cached, because creating one costs more than a request."""
    context = ssl.create_default_context(cafile=ca[0] or None, cadata=ca_text or None)
    if cert[0]:
        context.load_cert_chain(cert[0], key[0])
    return context


def https(query: Query, timeout_s: float) -> Result:
    """Return status, headers and body over a verified TLS connection to `address`, without resolving the name."""
    begun = time.monotonic()
    end = begun + timeout_s
    try:
        context = ssl_context(query)
        raw = socket.create_connection((query["address"], query["port"]), timeout=timeout_s)
        # Not HTTPSConnection: it would load all CA certificates of the system for its own context, which takes 20 ms.
        connection = http.client.HTTPConnection(query["name"], query["port"])
        raw.settimeout(max(0.1, end - time.monotonic()))
        connection.sock = context.wrap_socket(raw, server_hostname=query["name"])
        try:
            connection.sock.settimeout(max(0.1, end - time.monotonic()))
            connection.request(query.get("method", "GET"), query["path"], body=query.get("body"))
            answer = connection.getresponse()
            body = answer.read(query.get("max_bytes", MAX_BODY_BYTES)).decode(errors="replace")
            headers = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return {"error": str(reason), "seconds": time.monotonic() - begun}
    return {"status": answer.status, "headers": headers, "body": body, "seconds": time.monotonic() - begun}


def text(query: Query, timeout_s: float) -> Result:
    """Return a file's text."""
    try:
        return {"text": Path(query["path"]).read_text(encoding="utf-8")}
    except OSError as error:
        return {"error": error.strerror or str(error)}


KINDS = {"command": command, "https": https, "text": text}


def run_queries(task: dict[str, Any]) -> dict[str, Any]:
    """Return the results of all queries of `task`, which is {"timeout_s": float, "queries": {name: query}}."""
    queries, timeout_s = task["queries"], task["timeout_s"]
    with ThreadPoolExecutor(max_workers=max(1, len(queries))) as pool:
        futures = {name: pool.submit(KINDS[q["kind"]], q, timeout_s) for name, q in queries.items()}
        found = {name: future.result() for name, future in futures.items()}
    return {"now": time.time(), "results": found}


def serve() -> None:
    """Answer line by line. No code catches the alarm, so it ends the process even if a query hangs."""
    signal.alarm(IDLE_S)
    for line in sys.stdin:
        signal.alarm(IDLE_S)
        try:
            sys.stdout.write(json.dumps(run_queries(json.loads(line))) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # the sender has gone
            os._exit(0)
