#!/usr/bin/python3
# ruff: noqa: PTH123
"""Patroni's pre_promote at a site whose member acknowledges commits and is never promoted without an operator's
approval.

It runs after this member took the leader key, because this member alone may have acknowledged a commit. While it holds
the key, the promotable members follow it and so receive what only it has. As soon as one of them has everything, the
guard ends with 1. Patroni then releases the key and stays out of the race for one ttl, and that member takes over:
nothing is lost. The guard also ends with 1 if no promotable member answers or catches up in time. The next attempt
comes after the ttl.

An operator allows a takeover by a token. The token names the timeline that the takeover ends, so an old token allows
nothing later: {"timeline": 7, "by": "name", "reason": "words"}.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SETTINGS = "/etc/govcloud/postgresql/guard.json"
ASK_TIMEOUT_S = 2.0
BETWEEN_S = 0.25

Status = Mapping[str, Any] | None
"""A member's status as Patroni reports it; None if the member did not answer."""


def position(status: Status) -> int:
    """Return the last byte of WAL that a member has, 0 if it does not report one."""
    xlog = (status or {}).get("xlog") or {}
    places = ("received_location", "replayed_location", "location")
    return max(int(xlog.get(place) or 0) for place in places)


def usable(status: Status) -> bool:
    """Return whether a member answers as a running standby."""
    return (
        status is not None
        and status.get("role") == "replica"
        and status.get("state") in ("running", "streaming", "in archive recovery")
    )


def caught_up(own: Mapping[str, Any], others: Mapping[str, Status]) -> str | None:
    """Return the name of a member on our timeline that has all our WAL, or None. `others` are statuses by name."""
    for name, status in sorted(others.items()):
        same = usable(status) and status is not None and status.get("timeline") == own.get("timeline")
        if same and position(status) >= position(own) > 0:
            return name
    return None


def allows(token: Any, timeline: int | None) -> bool:
    """Return whether an operator's token allows the end of `timeline`."""
    return (
        isinstance(token, dict)
        and token.get("timeline") == timeline
        and bool(token.get("by"))
        and bool(token.get("reason"))
    )


def verdict(
    own: Status, others: Mapping[str, Status], token: Any, waited_s: float, wait_s: float, silent_s: float
) -> tuple[int | None, str]:
    """Return (exit code, reason), or (None, "") to wait longer.

    `waited_s` counts from the start. The guard ends after `silent_s` if no member is usable, at the latest after
    `wait_s`.
    """
    if own and allows(token, own.get("timeline")):
        return 0, f"allowed by {token['by']}: {token['reason']}"
    name = caught_up(own, others) if own else None
    if name:
        return 1, f"{name} holds everything up to {position(own):X}: leaving it to take over"
    if waited_s >= wait_s:
        return 1, f"no promotable member caught up within {wait_s:.0f} s: not promoting"
    if waited_s >= silent_s and not any(usable(status) for status in others.values()):
        return 1, "no promotable member answers as a standby: not promoting without an operator's approval"
    return None, ""


def asker(cafile: str) -> Callable[[str], Status]:
    """Return a function from a URL to a member's status, None if the member does not answer."""
    context = ssl.create_default_context(cafile=cafile)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def ask(url: str) -> Status:
        try:
            with opener.open(url, timeout=ASK_TIMEOUT_S) as answer:
                status: Status = json.load(answer)
                return status
        except (OSError, ValueError):
            return None

    return ask


def read_token(path: str) -> Any:
    try:
        with open(path) as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def main(path: str = SETTINGS) -> int:
    with open(path) as stream:
        settings = json.load(stream)
    ask = asker(settings["cafile"])
    names = sorted(settings["promotable"])
    start = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(names) + 1) as pool:
        while True:
            own, *answers = pool.map(ask, [settings["own"], *(settings["promotable"][name] for name in names)])
            code, why = verdict(
                own,
                dict(zip(names, answers, strict=True)),
                read_token(settings["token"]),
                time.monotonic() - start,
                settings["wait_s"],
                settings["silent_s"],
            )
            if code is not None:
                print(f"promotion guard: {why}", flush=True)
                return code
            time.sleep(BETWEEN_S)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
