"""The time from the power on to the first answer of the site's own pods: the probe, its repetition and its end."""

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
from failover.drills.faults import SitePower
from failover.pod_readiness import ANSWER_S, PAUSE_S, PodProbe, PodReadinessTimer, pod_probe, wait_for_first_answer
from failover.protocols import DrillInterfaces
from failover.result import Event
from monitors.collectors import Observation
from monitors.collectors.postgres import Role
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
"""The third request succeeds."""


@dataclass(frozen=True)
class Answer:
    """The result of one command on the node."""

    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""


class WallClock(Clock):
    """Wall clock and monotonic clock are the same, and waiting takes no real time."""

    def wall(self) -> float:
        return self.now


@dataclass
class Node:
    """A node whose successive commands give `codes`: None is an unreachable node, a number is an exit code.

    The last code repeats. Each command takes a second.
    """

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


def test_an_unreachable_node_and_silent_pods_are_tried_again_until_the_first_answer() -> None:
    clock = WallClock()
    node = Node(clock, [None, None, NO_ANSWER, NO_ANSWER, 0, NO_ANSWER])
    assert wait_for_first_answer(PROBE, node, clock, lambda: False) == 5 + 4 * PAUSE_S
    assert node.asked == [PROBE.host] * 5


def test_the_requests_stop_when_the_caller_stops() -> None:
    clock = WallClock()
    assert wait_for_first_answer(PROBE, Node(clock, [NO_ANSWER]), clock, lambda: clock.now > 10) is None
    assert clock.now < 13


def test_the_node_asks_until_it_is_answered_and_finely_enough(tmp_path: Path) -> None:
    """Run the node's shell command with a curl that fails twice."""
    curl, calls = tmp_path / "curl", tmp_path / "calls"
    curl.write_text(CURL, encoding="utf-8")
    curl.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    assert subprocess.run(PROBE.argv, env=environment, timeout=30, check=False).returncode == 0
    lines = calls.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    for line in lines:
        words = line.split()
        assert words[-1] == PROBE.url
        assert "-sf" in words, "a 503 must not count as an answer"
        assert words[words.index("-m") + 1] == f"{ANSWER_S:g}"
    assert ANSWER_S + PAUSE_S <= 1


class Silent:
    """Pods that answer only after `may_answer` is set."""

    def __init__(self) -> None:
        self.begun, self.may_answer = threading.Event(), threading.Event()

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Answer:
        self.begun.set()
        return Answer(0 if self.may_answer.wait(0.01) else NO_ANSWER)


def asking() -> list[str]:
    """Return the names of the probing threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pods ")]


def test_after_the_timer_no_thread_remains() -> None:
    pods = Silent()
    with PodReadinessTimer(PROBE, pods, WallClock()) as pod_timer:
        pod_timer.begin()
        assert pods.begun.wait(10)
        assert asking() == ["pods futian-kube1"]
    assert not asking()
    assert pod_timer.answered_wall is None


def test_no_request_is_sent_before_the_power_on_or_without_pods() -> None:
    pods = Silent()
    with PodReadinessTimer(PROBE, pods, WallClock()), PodReadinessTimer(None, pods, WallClock()) as without_pods:
        without_pods.begin()
        assert not asking()
    assert not pods.begun.is_set()


@dataclass
class FakeEstate:
    """A site that is powered on at once, an observer that sees a healthy estate, and an empty ledger.

    `path` is the journal's path.
    """

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
def reported() -> list[Event]:
    return []


def drill_context(
    pods: PodReadinessTimer, reported: list[Event], clock: WallClock, fake_estate: Any = None
) -> DrillContext:
    """Return a context with the parts that the power on needs."""
    fake_estate = fake_estate or FakeEstate()
    on = DrillInterfaces(machines=fake_estate, power=fake_estate, links=fake_estate, observer=fake_estate, clock=clock)
    return DrillContext(
        estate=ESTATE, service=SERVICE, fault=SitePower(target="futian"), on=on, watch=fake_estate, pods=pods,
        journal=fake_estate, load_generator=fake_estate, endpoint=fake_estate, load=fake_estate, seed=1, hold_s=1.0,
        on_event=reported.append,
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
    reported: list[Event], seen: Observation, words: str
) -> None:
    clock = WallClock()
    with PodReadinessTimer(None, Silent(), clock) as timer:
        missing = drill_context(timer, reported, clock, FakeEstate(seen=seen)).all_healthy()
    assert words in missing
    assert bool(missing) == bool(words)


def test_the_first_answer_after_the_power_on_becomes_one_event_with_its_own_time(reported: list[Event]) -> None:
    clock, silent = WallClock(), Silent()
    clock.now = sample_drill.START
    with PodReadinessTimer(PROBE, silent, clock) as pod_timer:
        one = drill_context(pod_timer, reported, clock)
        one.take_observation()
        one.heal()
        assert silent.begun.wait(10)
        one.take_observation()
        assert one.facts.pods_wall is None
        silent.may_answer.set()
        until("the pods have answered", lambda: pod_timer.answered_wall is not None, 10)
        clock.now += 100
        one.take_observation()
        one.take_observation()
    assert [event.code for event in reported] == ["healed", "pods_serve"]
    found = reported[-1]
    assert (found.source, found.subject, found.wall) == ("observer", "futian", pod_timer.answered_wall)
    assert one.facts.pods_wall == pod_timer.answered_wall
    assert found.wall < clock.now


def test_an_answer_after_the_last_observation_is_not_forgotten(reported: list[Event], tmp_path: Path) -> None:
    clock = WallClock()
    clock.now = sample_drill.START
    with PodReadinessTimer(PROBE, Silent(), clock) as pod_timer:
        one = drill_context(pod_timer, reported, clock, FakeEstate(path=tmp_path / "journal.jsonl"))
        pod_timer.answered_wall = sample_drill.START - 1
        one.collect()
    assert [event.code for event in reported] == ["pods_serve", "compared"]


def test_an_observation_from_before_the_end_of_the_fault_does_not_prove_the_recovery(reported: list[Event]) -> None:
    """A quick crash may fall between two polls, so the latest observation may show the estate before it."""
    clock = WallClock()
    clock.now = sample_drill.START
    estate = FakeEstate(seen=replace(HEALTHY, at=clock.now - 3))
    with PodReadinessTimer(None, Silent(), clock) as timer:
        one = drill_context(timer, reported, clock, estate)
        one.facts.injected_wall = one.facts.restored_wall = clock.now
        assert one.recovered() == "an observation after the end of the fault"
        assert one.facts.healthy_wall is None
        estate.seen = replace(HEALTHY, at=clock.now + 1)
        assert one.recovered() == ""
    assert one.facts.healthy_wall == clock.now
