"""Looking all the time: each host has a channel and a thread of its own that asks it beat by beat.

What is seen is made of the latest replies, at once and without asking anybody, so a dark host holds up no one. The
replies of one look are therefore of different moments. Whoever decides about data looks freshly: `observe.snapshot`.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from estate.addressing import plan
from estate.model import Estate, Host, HostRole
from monitors.observe import questions
from monitors.observe.answers import Reply, observed
from monitors.observe.authority import Authority
from monitors.observe.channel import SERVE, Channel, NoAnswer, Stopped
from monitors.observe.model import Observed
from workstation import ssh

SHARE_ON_HOST, LONGEST_ON_HOST_S = 0.45, 3.0
"""Of the time given, the part that a question on a host may take; the rest is for the way there and back. A citizen
would have given up after `LONGEST_ON_HOST_S`."""

FRESH_S = 7.5
"""An older reply counts as none. Two replies of a host that is well, though everything it asks hangs for
`LONGEST_ON_HOST_S`, come up to that and a beat of 4 s apart; half a second is for the way."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a watch asks. Times in seconds."""

    every_s: float = 4.0
    """From one beat to the next. A host that is still answering leaves beats out. Beats of 1.5 s took a third of a
    machine of two cores that carries the whole estate; what is measured must not suffer from being watched."""
    answer_s: float = 8.0
    """An answer may take this long, also the first, for which ssh logs in. Longer than a reply stays fresh: opening a
    channel anew is dear on a machine that is merely busy."""
    connect_s: int = 3
    """TCP asks again after 1 s, then 2, then 4: more patience would notice the return of a host later, not sooner."""
    pause_s: float = 0.5
    """Between a channel that failed and the next."""
    fresh_s: float = FRESH_S
    once: bool = False
    """Each host is asked a single time, over the connection that all callers share."""


def once(timeout_s: float) -> Pace:
    """One look within `timeout_s`: whatever came within it is fresh."""
    return Pace(answer_s=timeout_s, connect_s=ssh.CONNECT_TIMEOUT_S, fresh_s=math.inf, once=True)


@dataclass(frozen=True, kw_only=True)
class Word:
    """The latest reply of a host, and why asking it failed where it has failed since. `heard_at` on the monotonic
    clock."""

    reply: Reply | None = None
    heard_at: float = 0.0
    missed: str = ""


class Watch:
    """A context manager: within it the estate is watched, after it no process and no thread is left.

    Entering returns when each host has answered or failed once, after `pace.answer_s` at the latest. Only `hosts`, or
    every host that has something to say.
    """

    def __init__(
        self, estate: Estate, access: ssh.Access, *, hosts: Collection[str] | None = None, pace: Pace | None = None
    ) -> None:
        self._estate, self._access, self._pace = estate, access, pace or Pace()
        self._plan = plan(estate)
        self._hosts = questions.hosts_asked(estate, hosts)
        self._authority = Authority(host.name for host in self._hosts if host.kind is HostRole.KUBE)
        self._lock, self._all_spoke = threading.Lock(), threading.Event()
        self._words: dict[str, Word] = {}
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watch:
        self._begun = time.monotonic()
        self._stop, self._running = os.pipe()  # the reading end becomes readable for all threads when the other closes
        try:
            for host, phase_s in phases(self._hosts, self._pace.every_s):
                thread = threading.Thread(target=self._attend, args=(host, phase_s), name=f"watch {host.name}")
                thread.start()
                self._threads.append(thread)
            if self._hosts:
                self._all_spoke.wait(self._pace.answer_s + self._pace.pause_s)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def snapshot(self) -> Observed:
        """What was heard last, put together at once. `at` and `took_s` span the replies that it is made of."""
        now, wall = time.monotonic(), time.time()
        with self._lock:
            words = dict(self._words)
        replies = {
            host.name: current(host.name, words.get(host.name, Word()), now=now, fresh_s=self._pace.fresh_s)
            for host in self._hosts
        }
        at = min((reply.asked_at for reply in replies.values() if reply.reachable), default=wall)
        return observed(self._estate, self._plan, replies, at=at, took_s=max(0.0, wall - at))

    def _end(self) -> None:
        os.close(self._running)
        self._authority.give_up()
        for thread in self._threads:
            thread.join()
        os.close(self._stop)

    def _attend(self, host: Host, phase_s: float) -> None:
        """A host's thread: a channel, and after it has failed the next, until nobody is watching."""
        try:
            while True:
                try:
                    self._converse(host, phase_s)
                except (NoAnswer, OSError) as error:
                    self._missed(host, f"{self._plan.management(host.name)}: {error}")
                if self._pace.once:
                    return
                self._wait(self._pace.pause_s)
        except Stopped:
            return

    def _converse(self, host: Host, phase_s: float) -> None:
        """Ask over one channel, beat by beat. Raises NoAnswer, OSError where ssh cannot be started, Stopped."""
        pace, wanted = self._pace, questions.of(self._estate, self._plan, host)
        line = ssh.command(
            self._access, str(self._plan.management(host.name)), SERVE,
            shared=pace.once, connect_timeout_s=pace.connect_s,
        )  # fmt: skip
        end = time.monotonic() + pace.answer_s
        with Channel(line, self._stop) as channel:
            while True:
                if questions.needs_authority(wanted):
                    wanted = questions.with_authority(wanted, self._authority.wait(pace.answer_s / 2))
                self._heard(host, _ask(channel, host, wanted, max(0.5, end - time.monotonic())))
                if pace.once:
                    return
                self._wait(until_beat(time.monotonic() - self._begun, every_s=pace.every_s, phase_s=phase_s))
                end = time.monotonic() + pace.answer_s

    def _heard(self, host: Host, reply: Reply) -> None:
        self._note(host, Word(reply=reply, heard_at=time.monotonic()))
        if host.kind is HostRole.KUBE:
            self._authority.tell(host.name, reply.answers.get("authority", {}).get("text"))

    def _missed(self, host: Host, reason: str) -> None:
        self._note(host, replace(self._words.get(host.name, Word()), missed=reason))
        if host.kind is HostRole.KUBE:
            self._authority.tell(host.name, None)

    def _note(self, host: Host, word: Word) -> None:
        with self._lock:
            self._words[host.name] = word
            if len(self._words) == len(self._hosts):
                self._all_spoke.set()

    def _wait(self, seconds: float) -> None:
        waiting = select.poll()
        waiting.register(self._stop, select.POLLIN)
        if waiting.poll(seconds * 1000):
            raise Stopped


def _ask(channel: Channel, host: Host, wanted: questions.Questions, timeout_s: float) -> Reply:
    asked_at, begun = time.time(), time.monotonic()
    task = {"timeout_s": round(min(LONGEST_ON_HOST_S, timeout_s * SHARE_ON_HOST), 2), "questions": wanted}
    said = channel.ask(task, timeout_s)
    took_s = time.monotonic() - begun
    return Reply(
        host=host.name, reachable=True, now=said["now"], asked_at=asked_at, took_s=took_s, answers=said["answers"]
    )


def current(host: str, word: Word, *, now: float, fresh_s: float) -> Reply:
    """The host's latest reply while it is fresh, whatever has failed since; then the reason why there is none."""
    age = now - word.heard_at
    if word.reply is not None and age <= fresh_s:
        return word.reply
    told = f"no answer for {age:.0f} s" if word.reply is not None else "no answer yet"
    return Reply(host=host, reachable=False, reason=word.missed or told)


def phases(hosts: Sequence[Host], every_s: float) -> tuple[tuple[Host, float], ...]:
    """When within a beat each host is asked. Databases together, because their positions are compared; the others
    spread over the beat, because what all answer at once would be felt by the service that shares their processors."""
    together = [host for host in hosts if host.database]
    alone = [host for host in hosts if not host.database]
    step = every_s / (len(alone) + 1)
    return (*((host, 0.0) for host in together), *((host, number * step) for number, host in enumerate(alone, 1)))


def until_beat(elapsed_s: float, *, every_s: float, phase_s: float) -> float:
    """Seconds to a host's next beat; never 0, so that no beat is taken twice."""
    return every_s - (elapsed_s - phase_s) % every_s
