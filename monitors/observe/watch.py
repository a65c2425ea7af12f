"""Continuous observation: each host has its own thread and ssh session, which sends the queries at each poll.

An observation is built at once from the latest replies and sends no query, so an unreachable host delays no caller.
The replies of one observation are therefore from different moments. Code that decides about data must call
`observe.snapshot` instead.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

from estate.addressing import plan
from estate.model import Estate, Host, HostRole
from monitors.collectors import Observation
from monitors.observe import queries
from monitors.observe.ca_cache import CaCertificate
from monitors.observe.ssh_session import AGENT_COMMAND, QueryFailed, SshSession, Stopped
from monitors.query import Queries, Reply, Target, queried_hosts
from workstation import ssh

QUERY_TIME_SHARE, MAX_QUERY_S = 0.45, 3.0
"""A query on a host may take this share of the timeout; the rest is for the network. It may take `MAX_QUERY_S` seconds
at most: a citizen would have given up after that."""

MAX_AGE_S = 7.5
"""An older reply is ignored, in seconds. If all queries on a healthy host hang for `MAX_QUERY_S`, its replies are up to
that time plus one poll of 4 s apart. The remaining half second is for the network."""


@dataclass(frozen=True, kw_only=True)
class PollSettings:
    """Polling settings of a `Watch`. Times in seconds."""

    interval_s: float = 4.0
    """Time from one poll to the next. A host that is still answering skips polls. Polls every 1.5 s used a third of a
    two-core machine that runs the whole estate; monitoring must not disturb the measured system."""
    reply_timeout_s: float = 8.0
    """Timeout of a reply, including the first one, for which ssh must log in. It is longer than `max_age_s`, because
    opening a new session is expensive on a host that is only busy."""
    connect_timeout_s: int = 3
    """TCP retries after 1 s, then 2 s, then 4 s. A longer timeout would detect later that a host is back."""
    retry_delay_s: float = 0.5
    """Pause between a failed ssh session and the next one."""
    max_age_s: float = MAX_AGE_S
    tenants: bool = False
    """Also list the bureaus' own Deployments, see `query.Target`."""
    once: bool = False
    """Query each host a single time, over the ssh connection that all callers share."""


def once(timeout_s: float, *, tenants: bool = False) -> PollSettings:
    """Return settings for one observation within `timeout_s`. Every reply that arrives in that time is used."""
    return PollSettings(
        reply_timeout_s=timeout_s, connect_timeout_s=ssh.CONNECT_TIMEOUT_S, max_age_s=math.inf, tenants=tenants,
        once=True,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LastReply:
    """The latest reply of a host, and the error of the query after it if that failed. `received_at` is a time of the
    monotonic clock."""

    reply: Reply | None = None
    received_at: float = 0.0
    error: str = ""


class Watch:
    """Context manager that polls `hosts`, or all hosts that answer queries. It leaves no process or thread behind.

    Entering waits until each host has answered or failed once, for `settings.reply_timeout_s` at the most.
    """

    def __init__(
        self,
        estate: Estate,
        access: ssh.Access,
        *,
        hosts: Collection[str] | None = None,
        settings: PollSettings | None = None,
    ) -> None:
        self._estate, self._access, self._settings = estate, access, settings or PollSettings()
        self._plan = plan(estate)
        self._hosts = queried_hosts(estate, hosts)
        self._ca = CaCertificate(host.name for host in self._hosts if host.kind is HostRole.KUBE)
        self._lock, self._all_replied = threading.Lock(), threading.Event()
        self._last_replies: dict[str, LastReply] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._stop, self._running = os.pipe()  # closing the writing end makes the other end readable for all threads
        try:
            for host, offset_s in poll_offsets(self._hosts, self._settings.interval_s):
                thread = threading.Thread(target=self._poll_host, args=(host, offset_s), name=f"watch {host.name}")
                thread.start()
                self._threads.append(thread)
            if self._hosts:
                self._all_replied.wait(self._settings.reply_timeout_s + self._settings.retry_delay_s)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def latest(self) -> Observation:
        """Return an observation built from the latest replies. `at` and `took_s` cover the time of these replies."""
        now, wall = time.monotonic(), time.time()
        with self._lock:
            last_replies = dict(self._last_replies)
        replies = {
            host.name: current_reply(
                host.name, last_replies.get(host.name, LastReply()), now=now, max_age_s=self._settings.max_age_s
            )
            for host in self._hosts
        }
        at = min((reply.asked_at for reply in replies.values() if reply.reachable), default=wall)
        return queries.observation_of(self._estate, self._plan, replies, at=at, took_s=max(0.0, wall - at))

    def _end(self) -> None:
        os.close(self._running)
        self._ca.give_up()
        for thread in self._threads:
            thread.join()
        os.close(self._stop)

    def _poll_host(self, host: Host, offset_s: float) -> None:
        """Run in a thread per host: open an ssh session, and a new one after a failure, until the watch ends."""
        try:
            while True:
                try:
                    self._poll_session(host, offset_s)
                except (QueryFailed, OSError) as error:
                    self._failed(host, f"{self._plan.management(host.name)}: {error}")
                if self._settings.once:
                    return
                self._wait(self._settings.retry_delay_s)
        except Stopped:
            return

    def _poll_session(self, host: Host, offset_s: float) -> None:
        """Send the queries over one session at each poll.

        Raise QueryFailed, OSError if ssh cannot be started, or Stopped.
        """
        settings = self._settings
        wanted = queries.queries_of(Target(estate=self._estate, plan=self._plan, host=host, tenants=settings.tenants))
        line = ssh.command(
            self._access, str(self._plan.management(host.name)), AGENT_COMMAND,
            shared=settings.once, connect_timeout_s=settings.connect_timeout_s,
        )  # fmt: skip
        end = time.monotonic() + settings.reply_timeout_s
        with SshSession(line, self._stop) as session:
            while True:
                if queries.needs_ca(wanted):
                    wanted = queries.with_ca(wanted, self._ca.wait(settings.reply_timeout_s / 2))
                self._received(host, _ask(session, host, wanted, max(0.5, end - time.monotonic())))
                if settings.once:
                    return
                self._wait(
                    until_next_poll(time.monotonic() - self._begun, interval_s=settings.interval_s, offset_s=offset_s)
                )
                end = time.monotonic() + settings.reply_timeout_s

    def _received(self, host: Host, reply: Reply) -> None:
        self._store(host, LastReply(reply=reply, received_at=time.monotonic()))
        if host.kind is HostRole.KUBE:
            self._ca.update(host.name, reply.results.get("ca", {}).get("text"))

    def _failed(self, host: Host, reason: str) -> None:
        self._store(host, replace(self._last_replies.get(host.name, LastReply()), error=reason))
        if host.kind is HostRole.KUBE:
            self._ca.update(host.name, None)

    def _store(self, host: Host, last: LastReply) -> None:
        with self._lock:
            self._last_replies[host.name] = last
            if len(self._last_replies) == len(self._hosts):
                self._all_replied.set()

    def _wait(self, seconds: float) -> None:
        waiting = select.poll()
        waiting.register(self._stop, select.POLLIN)
        if waiting.poll(seconds * 1000):
            raise Stopped


def _ask(session: SshSession, host: Host, wanted: Queries, timeout_s: float) -> Reply:
    asked_at, begun = time.time(), time.monotonic()
    task = {"timeout_s": round(min(MAX_QUERY_S, timeout_s * QUERY_TIME_SHARE), 2), "queries": wanted}
    answer = session.query(task, timeout_s)
    took_s = time.monotonic() - begun
    return Reply(
        host=host.name, reachable=True, now=answer["now"], asked_at=asked_at, took_s=took_s, results=answer["results"]
    )


def current_reply(host: str, last: LastReply, *, now: float, max_age_s: float) -> Reply:
    """Return the host's latest reply while it is at most `max_age_s` old, even if a later query failed.

    After that return an unreachable reply with the reason.
    """
    age = now - last.received_at
    if last.reply is not None and age <= max_age_s:
        return last.reply
    silence = f"no answer for {age:.0f} s" if last.reply is not None else "no answer yet"
    return Reply(host=host, reachable=False, reason=last.error or silence)


def poll_offsets(hosts: Sequence[Host], interval_s: float) -> tuple[tuple[Host, float], ...]:
    """Return each host with its offset within a poll interval, in seconds.

    Databases are polled together, because their positions are compared. All other hosts are spread over the interval,
    because simultaneous answers would slow down the service on the same processors.
    """
    together = [host for host in hosts if host.database]
    alone = [host for host in hosts if not host.database]
    step = interval_s / (len(alone) + 1)
    return (*((host, 0.0) for host in together), *((host, number * step) for number, host in enumerate(alone, 1)))


def until_next_poll(elapsed_s: float, *, interval_s: float, offset_s: float) -> float:
    """Return the seconds until a host's next poll. Never 0, so that no poll happens twice."""
    return interval_s - (elapsed_s - offset_s) % interval_s
