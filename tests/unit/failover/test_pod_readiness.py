"""The time from the power's return to the first answer of the site's own pods: who asks, how often, and until when."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from estate.addressing import plan
from failover.drills.context import DrillContext
from failover.pod_readiness import ANSWER_S, PAUSE_S, PodProbe, PodReadinessTimer, pod_probe, wait_for_first_answer
from failover.result import Event
from monitors.observe.model import Observation, Role
from tests.polling import until
from tests.unit.failover import sample_drill
from tests.unit.failover.observations import ESTATE, HEALTHY, with_member
from tests.unit.failover.test_journal import Clock
from workstation.ssh import HostUnreachable

SERVICE = ESTATE.service("approval")
PROBE = PodProbe(host="futian-kube1", url="http://10.192.0.10:8080/healthz")
NO_ANSWER = 124
CURL = """#!/bin/sh
echo "$@" >>"$CALLS"
[ "$(wc -l <"$CALLS")" -ge 3 ]
"""
"""The third question is answered."""


@dataclass(frozen=True)
class Answer:
    """How the node's asking ended."""

    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""


class WallClock(Clock):
    """Both times are one, and waiting costs nothing."""

    def wall(self) -> float:
        return self.now


@dataclass
class Node:
    """Boots for as many questions as `codes` says: None is dark, a number is how the asking ended; the last one stays.
    Each takes a second."""

    clock: WallClock
    codes: list[int | None]
    asked: list[str] = field(default_factory=list)

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Answer:
        self.asked.append(host)
        self.clock.now += 1
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        if code is None:
            raise HostUnreachable(f"{host} does not answer")
        return Answer(code)


def test_the_sites_own_node_asks_at_an_address_that_only_its_own_pods_have() -> None:
    for site in ("futian", "nanshan", "shaoguan"):
        found = pod_probe(ESTATE, SERVICE, site)
        assert found is not None
        assert found.host == f"{site}-kube1"
        assert f"//{plan(ESTATE).clusters[site].services['approval'].ipv4}:" in found.url
        assert found.argv[-1] == found.url


def test_a_site_without_pods_of_the_service_is_not_asked() -> None:
    pods = SERVICE.pods.model_copy(update={"replicas": {"futian": 2}})
    assert pod_probe(ESTATE, SERVICE.model_copy(update={"pods": pods}), "nanshan") is None
    bare = ESTATE.model_copy(update={"kubernetes": None})
    assert pod_probe(bare, SERVICE, "futian") is None


def test_a_dark_node_and_silent_pods_are_asked_again_until_the_first_answer() -> None:
    clock = WallClock()
    node = Node(clock, [None, None, NO_ANSWER, NO_ANSWER, 0, NO_ANSWER])
    assert wait_for_first_answer(PROBE, node, clock, lambda: False) == 5 + 4 * PAUSE_S
    assert node.asked == [PROBE.host] * 5


def test_nobody_asks_on_when_nobody_wants_to_know() -> None:
    clock = WallClock()
    assert wait_for_first_answer(PROBE, Node(clock, [NO_ANSWER]), clock, lambda: clock.now > 10) is None
    assert clock.now < 13


def test_the_node_asks_until_it_is_answered_and_finely_enough(tmp_path: Path) -> None:
    """The line that runs on the node, with a curl that is refused twice."""
    curl, calls = tmp_path / "curl", tmp_path / "calls"
    curl.write_text(CURL, encoding="utf-8")
    curl.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    assert subprocess.run(PROBE.argv, env=environment, timeout=30, check=False).returncode == 0
    told = calls.read_text(encoding="utf-8").splitlines()
    assert len(told) == 3
    for line in told:
        words = line.split()
        assert words[-1] == PROBE.url
        assert "-sf" in words, "an answer of 503 is none"
        assert words[words.index("-m") + 1] == f"{ANSWER_S:g}"
    assert ANSWER_S + PAUSE_S <= 1


class Silent:
    """Pods that answer when they are let."""

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Answer:
        self.begun.set()
        return Answer(0 if self.let.wait(0.01) else NO_ANSWER)


def asking() -> list[str]:
    """The threads that ask."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pods ")]


def test_after_it_no_thread_is_left_answered_or_not() -> None:
    pods = Silent()
    with PodReadinessTimer(PROBE, pods, WallClock()) as awaited:
        awaited.begin()
        assert pods.begun.wait(10)
        assert asking() == ["pods futian-kube1"]
    assert not asking()
    assert awaited.answered_wall is None


def test_nothing_is_asked_before_the_power_returns_nor_where_there_are_no_pods() -> None:
    pods = Silent()
    with PodReadinessTimer(PROBE, pods, WallClock()), PodReadinessTimer(None, pods, WallClock()) as nobody:
        nobody.begin()
        assert not asking()
    assert not pods.begun.is_set()


@dataclass
class FakeEstate:
    """Power that comes at once, eyes that see that all is well, and an empty ledger. `path` is the journal's."""

    path: Path = Path("journal.jsonl")

    def on(self, target: str) -> None:
        pass

    seen: Observation = HEALTHY

    def latest(self) -> Observation:
        return self.seen

    snapshot = latest

    def ledger(self) -> str:
        return ""

    def run(self, host: str, argv: Sequence[str], *, timeout_s: float) -> Answer:
        return Answer(0, stdout=b"key,digest,decision\n")


@pytest.fixture
def told() -> list[Event]:
    return []


def drill_context(
    pods: PodReadinessTimer, told: list[Event], clock: WallClock, fake_estate: Any = None
) -> DrillContext:
    """As much of a context as the return of power needs."""
    fake_estate = fake_estate or FakeEstate()
    return DrillContext(
        estate=ESTATE, service=SERVICE, site="futian", machines=fake_estate, power=fake_estate, observer=fake_estate,
        watch=fake_estate, pods=pods, clock=clock, journal=fake_estate, load_generator=fake_estate,
        endpoint=fake_estate, load=fake_estate, seed=1, powered_off_s=1.0, on_event=told.append,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (HEALTHY, ""),
        (replace(HEALTHY, paused=True), "govcloud: automatic failover is paused"),
        (with_member(HEALTHY, "shaoguan", role=Role.PRIMARY), "more than one member says that it is primary"),
        (replace(HEALTHY, votes=tuple(replace(vote, leader=False) for vote in HEALTHY.votes)), "etcd has no leader"),
    ],
    ids=["healthy", "paused", "two primaries", "no leader"],
)
def test_a_drill_does_not_begin_while_status_reports_a_problem(
    told: list[Event], seen: Observation, words: str
) -> None:
    clock = WallClock()
    with PodReadinessTimer(None, Silent(), clock) as timer:
        missing = drill_context(timer, told, clock, FakeEstate(seen=seen)).all_healthy()
    assert words in missing
    assert bool(missing) == bool(words)


def test_the_first_answer_after_the_power_returned_becomes_one_event_of_its_own_time(told: list[Event]) -> None:
    clock, silent = WallClock(), Silent()
    clock.now = sample_drill.START
    with PodReadinessTimer(PROBE, silent, clock) as awaited:
        one = drill_context(awaited, told, clock)
        one.take_observation()
        one.power_on()
        assert silent.begun.wait(10)
        one.take_observation()
        assert one.pods_wall is None
        silent.let.set()
        until("the pods have answered", lambda: awaited.answered_wall is not None, 10)
        clock.now += 100
        one.take_observation()
        one.take_observation()
    assert [event.code for event in told] == ["power_on", "pods_serve"]
    found = told[-1]
    assert (found.source, found.subject, found.wall) == ("observer", "futian", awaited.answered_wall)
    assert one.pods_wall == awaited.answered_wall
    assert found.wall < clock.now


def test_an_answer_after_the_last_look_is_not_forgotten(told: list[Event], tmp_path: Path) -> None:
    clock = WallClock()
    clock.now = sample_drill.START
    with PodReadinessTimer(PROBE, Silent(), clock) as awaited:
        one = drill_context(awaited, told, clock, FakeEstate(path=tmp_path / "journal.jsonl"))
        awaited.answered_wall = sample_drill.START - 1
        one.collect()
    assert [event.code for event in told] == ["pods_serve", "compared"]
