#!/usr/bin/python3
# ruff: noqa: PTH123
"""Move etcd's leadership to this host. Then the loss or separation of the cities costs no election.

Runs from a timer at the witness site. It moves the leadership only if the same other member has led for two runs, this
member is as far as the leader, and there were few moves recently. A witness that keeps losing leadership is ill, and a
cluster with any leader is better than one that moves its leader again and again. If there is nothing to do, it prints
nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

BEHIND_AT_MOST = 100
"""Maximum number of entries by which this member may be behind the leader."""

MOVES_AT_MOST = 3
MOVES_WITHIN_S = 900


def decide(
    own: Mapping[str, Any], leader: Mapping[str, Any] | None, memory: Mapping[str, Any], now: float
) -> tuple[bool, dict[str, Any]]:
    """Return (whether to move, the new memory). `own` and `leader` are endpoint statuses; `leader` is None if
    unreachable.

    `memory` contains `leader` and `term` of the last run, and `moves`, the times of recent moves in seconds.
    """
    moves = [at for at in memory.get("moves", []) if now - at < MOVES_WITHIN_S]
    seen = {"leader": own["leader"], "term": own["raftTerm"], "moves": moves}
    if not own["leader"] or own["leader"] == own["header"]["member_id"] or leader is None:
        return False, seen
    same = memory.get("leader") == own["leader"] and memory.get("term") == own["raftTerm"]
    healthy = not own.get("isLearner") and not own.get("errors") and not leader.get("errors")
    close = leader["raftIndex"] - own["raftAppliedIndex"] <= BEHIND_AT_MOST
    if same and healthy and close and len(moves) < MOVES_AT_MOST:
        return True, dict(seen, moves=[*moves, now])
    return False, seen


def etcdctl(endpoint: str, arguments: Sequence[str], json_answer: bool = True) -> Any:
    """Return the answer as JSON, True if the command has no JSON output, or None if it failed."""
    argv = ["etcdctl", "--dial-timeout", "2s", "--command-timeout", "5s"]
    try:
        done = subprocess.run(
            [*argv, *(["--write-out", "json"] if json_answer else []), *arguments],
            capture_output=True,
            timeout=8,
            check=False,
            env=dict(os.environ, ETCDCTL_ENDPOINTS=endpoint),
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    return json.loads(done.stdout) if json_answer else True


def status(endpoint: str) -> dict[str, Any] | None:
    answer = etcdctl(endpoint, ["endpoint", "status"])
    return dict(answer[0]["Status"]) if answer else None


def leader_address(local: str, leader_id: int) -> str | None:
    """Return a client address of the leader, or None."""
    answer = etcdctl(local, ["member", "list"])
    for member in (answer or {}).get("members", []):
        if member["ID"] == leader_id and member.get("clientURLs"):
            return str(member["clientURLs"][0])
    return None


def look(local: str, path: str) -> int:
    """Check once and move at most once. Return the exit code: 1 if a move was tried and failed, else 0."""
    own = status(local)
    if own is None:
        return 0
    try:
        with open(path) as stream:
            memory = json.load(stream)
    except (OSError, ValueError):
        memory = {}
    elsewhere = own["leader"] and own["leader"] != own["header"]["member_id"]
    address = leader_address(local, own["leader"]) if elsewhere else None
    move, memory = decide(own, status(address) if address else None, memory, time.time())
    with open(path, "w") as stream:
        json.dump(memory, stream)
    if not move or not address:
        return 0
    done = etcdctl(address, ["move-leader", f"{own['header']['member_id']:x}"], json_answer=False)
    print(f"leadership moved here from {own['leader']:x}" if done else f"leadership was not moved: {address} refused")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(look(os.environ["PREFER_LOCAL"], os.environ["PREFER_MEMORY"]))
