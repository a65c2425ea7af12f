"""Builders of small ledgers, so that a test contains only its relevant values."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

Attempts = list[dict[str, Any]]


def key(n: int) -> str:
    return str(uuid.UUID(int=n + 1, version=4))


def digest(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def ok(at_s: float, after_s: float = 0.02, decision: str = "approved") -> dict[str, Any]:
    return {"sent_s": at_s, "answered_s": at_s + after_s, "status": 201, "error": None, "decision": decision}


def no_primary(at_s: float) -> dict[str, Any]:
    return {"sent_s": at_s, "answered_s": at_s + 0.01, "status": 503, "error": None, "code": "no_primary"}


def silence(at_s: float) -> dict[str, Any]:
    return {"sent_s": at_s, "answered_s": None, "status": None, "error": "timeout"}


def write(n: int, attempts: Attempts, *, interval_s: float = 0.05) -> dict[str, Any]:
    return {
        "n": n, "kind": "write", "family": 4 if n % 2 == 0 else 6, "key": key(n), "digest": digest(n),
        "scheduled_s": round(n * interval_s, 6), "attempts": attempts,
    }  # fmt: skip


def read(n: int, attempts: Attempts, *, interval_s: float = 0.05) -> dict[str, Any]:
    return {
        "n": n, "kind": "read", "family": 4 if n % 2 == 0 else 6, "key": key(0), "digest": None,
        "scheduled_s": round((n + 0.5) * interval_s, 6), "attempts": attempts,
    }  # fmt: skip


def header(rate_per_s: float = 20.0) -> dict[str, Any]:
    return {"kind": "header", "version": 1, "started_wall_s": 1_760_000_000.0, "rate_per_s": rate_per_s, "seed": 1}


def text(*lines: dict[str, Any], footer: bool = True, rate_per_s: float = 20.0) -> str:
    end = [{"kind": "footer", "ended_s": 1.0, "reason": "sentinel", "scheduled": len(lines)}] if footer else []
    return "".join(json.dumps(line) + "\n" for line in [header(rate_per_s), *lines, *end])


def writes(count: int, attempts_of: Callable[[int, float], Attempts]) -> list[dict[str, Any]]:
    """Return `count` writes, one every 50 ms, with the attempts from `attempts_of(n, scheduled_s)`."""
    return [write(n, attempts_of(n, n * 0.05)) for n in range(count)]


def csv_of(rows: Sequence[tuple[str, str, str]]) -> str:
    return "key,digest,decision\n" + "".join(",".join(row) + "\n" for row in rows)
