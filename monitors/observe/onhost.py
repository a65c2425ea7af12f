"""Runs on a host: asks what it was told to ask, all at once, and prints the answers as one JSON object.

Sent over ssh on standard input of `python3 -`, so nothing has to be installed. Python's own library only, 3.9 or later.
It knows no service: a question is either a command or an HTTPS request; what an answer means is decided by the sender.
"""

import http.client
import json
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Answer = dict[str, Any]

LONGEST_BODY = 1 << 20


def command(question: Answer, timeout_s: float) -> Answer:
    """Exit code and output; `error` where it could not be run or took too long."""
    try:
        done = subprocess.run(
            question["argv"], capture_output=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL, cwd="/"
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


def https(question: Answer, timeout_s: float) -> Answer:
    """Status, headers and body over a verified connection to `address`, whatever the name resolves to."""
    begun = time.monotonic()
    end = begun + timeout_s
    try:
        context = ssl.create_default_context(cafile=question.get("ca_file"), cadata=question.get("ca_text"))
        if question.get("cert_file"):
            context.load_cert_chain(question["cert_file"], question["key_file"])
        raw = socket.create_connection((question["address"], question["port"]), timeout=timeout_s)
        connection = http.client.HTTPSConnection(question["name"], question["port"], timeout=timeout_s)
        raw.settimeout(max(0.1, end - time.monotonic()))
        connection.sock = context.wrap_socket(raw, server_hostname=question["name"])
        try:
            connection.sock.settimeout(max(0.1, end - time.monotonic()))
            connection.request(question.get("method", "GET"), question["path"], body=question.get("body"))
            answer = connection.getresponse()
            body = answer.read(LONGEST_BODY).decode(errors="replace")
            headers = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return {"error": str(reason), "seconds": time.monotonic() - begun}
    return {"status": answer.status, "headers": headers, "body": body, "seconds": time.monotonic() - begun}


def text(question: Answer, timeout_s: float) -> Answer:
    """A file's text."""
    try:
        return {"text": Path(question["path"]).read_text(encoding="utf-8")}
    except OSError as error:
        return {"error": error.strerror or str(error)}


KINDS = {"command": command, "https": https, "text": text}


def main(task: Answer) -> None:
    """Answer every question of `task`: {"timeout_s": float, "questions": {name: question}}."""
    questions, timeout_s = task["questions"], task["timeout_s"]
    with ThreadPoolExecutor(max_workers=max(1, len(questions))) as pool:
        futures = {name: pool.submit(KINDS[q["kind"]], q, timeout_s) for name, q in questions.items()}
        answers = {name: future.result() for name, future in futures.items()}
    print(json.dumps({"now": time.time(), "answers": answers}))
