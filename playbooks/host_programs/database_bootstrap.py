#!/usr/bin/python3
# ruff: noqa: PTH123
"""Apply the declared state to the running database cluster: Patroni's settings for all members, databases, roles,
rights.

Only the primary changes anything; other members wait until they are healthy. The role calls it with `--wait SECONDS`
after it has installed its files. Patroni calls it too (`on_start`, `on_role_change`), so a new primary is complete
without an operator. All its steps can be repeated. With `--compare` it changes nothing and prints which of Patroni's
settings were changed by hand.
"""

from __future__ import annotations

import fcntl
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

SETTINGS = "/etc/govcloud/postgresql/database.json"
ASK_TIMEOUT_S = 3.0
BETWEEN_S = 0.5
SQL_TIMEOUT_S = 60
CALLED_WAIT_S = 120.0
"""How long the program waits for a new primary if Patroni calls it."""


def differences(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `wanted` that `actual` lacks, in the form of Patroni's PATCH.

    Patroni treats two values with the same text as equal, so 20 and "20" are no difference.
    """
    changed = dict[str, Any]()
    for key, value in wanted.items():
        there = actual.get(key)
        if isinstance(value, dict):
            inner = differences(value, there if isinstance(there, dict) else {})
            if inner:
                changed[key] = inner
        elif str(there) != str(value):
            changed[key] = value
    return changed


def leaves(wanted: Mapping[str, Any], actual: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, wanted, actual) of each setting in `wanted`, a result of `differences`."""
    for key, value in sorted(wanted.items()):
        there = actual.get(key) if isinstance(actual, dict) else None
        if isinstance(value, dict):
            yield from leaves(value, there, (*path, key))
        else:
            yield ".".join((*path, key)), value, there


def compared(settings: Mapping[str, Any], member: Member) -> list[dict[str, Any]]:
    """Return the differences of Patroni's settings.

    Only the primary reports them: they are the same for all members.
    """
    if healthy(member.call("/patroni")) != "primary":
        return []
    actual = member.call("/config")
    if actual is None:
        return []
    changed = differences(settings["dynamic"], actual)
    return [{"name": "Patroni's " + name, "wanted": w, "actual": a} for name, w, a in leaves(changed, actual)]


def healthy(status: Mapping[str, Any] | None) -> str | None:
    """Return `primary` or `standby`, or None if the member does not serve yet."""
    if not status:
        return None
    if status.get("role") in ("primary", "master") and status.get("state") == "running":
        return "primary"
    streaming = status.get("replication_state") == "streaming" or status.get("state") == "streaming"
    return "standby" if status.get("role") == "replica" and streaming else None


class Member:
    """The local Patroni. The program connects with the host's own certificate."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        context = ssl.create_default_context(cafile=settings["cafile"])
        context.load_cert_chain(settings["certfile"], settings["keyfile"])
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self.opener, self.url = urllib.request.build_opener(*handlers), settings["url"]

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the answer, or None if there is no valid one."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method="PATCH" if body is not None else "GET")
        try:
            with self.opener.open(request, timeout=ASK_TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return None


def wait(member: Member, deadline: float) -> tuple[str | None, dict[str, Any] | None]:
    """Wait until the member serves. Return its role and its last status; the role is None after the deadline."""
    while True:
        status = member.call("/patroni")
        role = healthy(status)
        if role or time.monotonic() >= deadline:
            return role, status
        time.sleep(BETWEEN_S)


def psql(settings: Mapping[str, Any], *arguments: str) -> tuple[int, str]:
    """Run psql as superuser and return (exit code, output). Its own commits wait for no standby."""
    environment = dict(os.environ, PGOPTIONS="-c synchronous_commit=local -c client_min_messages=warning")
    argv = [
        settings["psql"],
        "-XqAt",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        settings["socket"],
        "-U",
        "postgres",
        "-d",
        "postgres",
    ]
    try:
        done = subprocess.run(
            [*argv, *arguments],
            env=environment,
            timeout=SQL_TIMEOUT_S,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"not finished within {SQL_TIMEOUT_S} s"
    return done.returncode, done.stdout.strip()


def guarded(settings: Mapping[str, Any], deadline: float) -> bool:
    """Return whether commits wait for a standby.

    A cluster that was just created knows no standby yet, and then no login may exist.
    """
    while True:
        if psql(settings, "-c", "SHOW synchronous_standby_names") != (0, ""):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(BETWEEN_S)


def answered(member: Member, deadline: float, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return Patroni's settings, or its answer to a change of them. Retry while Patroni or its etcd is busy."""
    while True:
        answer = member.call("/config", body)
        if answer is not None or time.monotonic() >= deadline:
            return answer
        time.sleep(BETWEEN_S)


def settle(settings: Mapping[str, Any], member: Member, deadline: float) -> str:
    """As primary, apply the settings, then databases and roles. Return the problem as text, "" on success."""
    actual = answered(member, deadline)
    if actual is None:
        return "Patroni did not report its settings"
    changed = differences(settings["dynamic"], actual)
    if changed and answered(member, deadline, changed) is None:
        return f"Patroni did not accept the settings {json.dumps(changed)}"
    if changed:
        print(f"settings of all members: {json.dumps(changed, sort_keys=True)}")
    if not guarded(settings, deadline):
        return "commits wait for no standby yet: no logins before that"
    with open(settings["lock"], "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output = psql(settings, "-f", settings["sql"])
    return output or f"psql ended with {code}" if code else ""


def main(arguments: list[str]) -> int:
    with open(SETTINGS) as stream:
        settings = json.load(stream)
    if arguments == ["--compare"]:
        print(json.dumps(compared(settings, Member(settings))))
        return 0
    waiting = arguments[0] == "--wait"
    if not waiting and (len(arguments) < 2 or arguments[1] not in ("primary", "master", "promoted")):
        return 0
    member = Member(settings)
    deadline = time.monotonic() + (float(arguments[1]) if waiting else CALLED_WAIT_S)
    role, status = wait(member, deadline)
    if role is None:
        seen = {key: (status or {}).get(key) for key in ("role", "state", "replication_state", "timeline")}
        found = json.dumps(seen) if status else "Patroni does not answer"
        print(f"this member does not serve yet: {found}", file=sys.stderr)
        return 1
    fault = settle(settings, member, deadline) if role == "primary" else ""
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
