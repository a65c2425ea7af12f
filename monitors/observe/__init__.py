"""The only readers of as-is: one ssh call per host, all hosts at once, each asked everything by one small script.

What cannot be reached is part of what was seen. Who is primary, what is announced and what lags is never stored:
whoever needs it looks.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from estate.addressing import AddressPlan, plan
from estate.model import Estate, Host, Kind
from monitors.observe import questions
from monitors.observe.answers import Reply, observed
from monitors.observe.model import Observed
from workstation import ssh
from workstation.errors import GovcloudError

SCRIPT = Path(__file__).with_name("onhost.py")
SHARE_ON_HOST, LONGEST_ON_HOST_S = 0.45, 3.0
"""Of the time given, the part that a question on a host may take; the rest is for the way there and back. A citizen
would have given up after `LONGEST_ON_HOST_S`."""

__all__ = ["Observed", "snapshot"]


def snapshot(estate: Estate, access: ssh.Access, *, timeout_s: float, hosts: Collection[str] | None = None) -> Observed:
    """Look once, within `timeout_s` seconds, at every host that has something to say, or only at `hosts`.

    Never raises because a host does not answer.
    """
    computed = plan(estate)
    asked = _asked(estate, hosts)
    at, begun = time.time(), time.monotonic()
    authority = _Authority(sum(host.kind is Kind.KUBE for host in asked))
    with ThreadPoolExecutor(max_workers=max(1, len(asked))) as pool:
        waiting = {h.name: pool.submit(_ask, estate, computed, access, h, timeout_s, authority) for h in asked}
        replies = {name: future.result() for name, future in waiting.items()}
    return observed(estate, computed, replies, at=at, took_s=time.monotonic() - begun)


class _Authority:
    """The estate's CA certificate, as the first of the hosts that hold it tells; the vantages wait for it."""

    def __init__(self, holders: int) -> None:
        self._lock, self._told = threading.Lock(), threading.Event()
        self._left, self._text = holders, ""
        if not holders:
            self._told.set()

    def tell(self, text: str | None) -> None:
        """Every holder tells once: the same text, or nothing where it was not reached or has none yet."""
        with self._lock:
            self._left -= 1
            self._text = self._text or text or ""
            if self._text or self._left == 0:
                self._told.set()

    def wait(self, timeout_s: float) -> str:
        """The certificate, or nothing: then a vantage verifies by its own store."""
        self._told.wait(timeout_s)
        return self._text


def _asked(estate: Estate, hosts: Collection[str] | None) -> list[Host]:
    """Our own hosts, and the vantages; peers' routers and servers are not ours to ask.

    Where a vantage is asked, so are the services' hosts: they hold the certificate that it needs.
    """
    own = {host.name for host in estate.own_hosts}
    found = [host for host in estate.hosts if host.name in own or host.kind is Kind.VANTAGE]
    if hosts is None:
        return found
    vantage = any(host.kind is Kind.VANTAGE and host.name in hosts for host in found)
    return [host for host in found if host.name in hosts or (vantage and host.kind is Kind.KUBE)]


def _ask(
    estate: Estate, computed: AddressPlan, access: ssh.Access, host: Host, timeout_s: float, authority: _Authority
) -> Reply:
    asked = questions.of(estate, computed, host)
    end = time.monotonic() + timeout_s
    if questions.needs_authority(asked):
        asked = questions.with_authority(asked, authority.wait(timeout_s / 2))
    left = max(0.5, end - time.monotonic())
    reply = _call(access, str(computed.management(host.name)), host.name, asked, left)
    if host.kind is Kind.KUBE:
        authority.tell(reply.answers.get("authority", {}).get("text"))
    return reply


def _call(access: ssh.Access, address: str, host: str, asked: questions.Questions, timeout_s: float) -> Reply:
    task = {"timeout_s": round(min(LONGEST_ON_HOST_S, timeout_s * SHARE_ON_HOST), 2), "questions": asked}
    script = SCRIPT.read_text(encoding="utf-8") + f"\n\nmain(json.loads({json.dumps(task)!r}))\n"
    at, begun = time.time(), time.monotonic()
    try:
        result = ssh.run(access, address, ["python3", "-"], stdin=script.encode(), timeout_s=timeout_s)
    except GovcloudError as error:
        return Reply(host=host, reachable=False, reason=str(error), asked_at=at, took_s=time.monotonic() - begun)
    took_s = time.monotonic() - begun
    said = _said(result)
    if said is None:
        reason = result.stderr.decode(errors="replace").strip()[-200:] or f"exit code {result.returncode}"
        return Reply(host=host, reachable=False, reason=reason, asked_at=at, took_s=took_s)
    return Reply(host=host, reachable=True, now=said["now"], asked_at=at, took_s=took_s, answers=said["answers"])


def _said(result: ssh.Result) -> dict[str, Any] | None:
    try:
        said = json.loads(result.stdout)
        return said if isinstance(said, dict) and "answers" in said and "now" in said else None
    except ValueError:
        return None
