"""The act of a switchover: check again, request once, check the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from failover import lock, plans
from failover.plans import Intent, Operation
from failover.switchover import SwitchoverResult, execute
from monitors.collectors import Observation
from tests.unit.failover.observations import ESTATE, HEALTHY, with_member, with_primary
from tests.unit.failover.test_journal import Clock
from workstation.errors import GovcloudError, Locked, Refused


@dataclass(frozen=True)
class Answer:
    """How patronictl ended."""

    returncode: int = 0
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass
class Cluster:
    """Moves its primary on request."""

    seen: Observation = HEALTHY
    answer: Answer = field(default_factory=Answer)
    obeys: bool = True
    ordered: list[tuple[str, ...]] = field(default_factory=list)

    def snapshot(self) -> Observation:
        return self.seen

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Answer:
        self.ordered.append((host, *argv[3:]))
        if self.obeys and self.answer.returncode == 0:
            self.seen = with_primary(self.seen, "nanshan")
        return self.answer


PLAN = plans.plan(ESTATE, HEALTHY, Intent(operation=Operation.SWITCHOVER, to="nanshan"))


def move(cluster: Cluster, home: Path) -> SwitchoverResult:
    return execute(PLAN, ESTATE, cluster, cluster, home, clock=Clock())


def test_a_switchover_names_leader_and_candidate_to_patroni(tmp_path: Path) -> None:
    cluster = Cluster()
    result = move(cluster, tmp_path)
    assert cluster.ordered == [
        ("futian-data1", "switchover", "--leader", "futian-data1", "--candidate", "nanshan-data1", "--force")
    ]
    assert result.as_json()["primary"] == "nanshan-data1"
    assert result.changed
    assert '"phase": "done"' in (tmp_path / "moves" / "journal.jsonl").read_text()


def test_an_estate_that_changed_since_the_plan_is_refused_before_any_order(tmp_path: Path) -> None:
    cluster = Cluster(seen=with_member(HEALTHY, "nanshan", lag_bytes=5_000_000))
    with pytest.raises(Refused, match="lag"):
        move(cluster, tmp_path)
    assert not cluster.ordered


def test_a_primary_that_is_already_at_the_target_is_not_moved(tmp_path: Path) -> None:
    cluster = Cluster()
    move(cluster, tmp_path)
    assert not move(cluster, tmp_path).changed
    assert len(cluster.ordered) == 1


def test_patronis_refusal_is_reported(tmp_path: Path) -> None:
    cluster = Cluster(answer=Answer(returncode=1, stderr=b"Error\nno good candidates\n"))
    with pytest.raises(GovcloudError, match="no good candidates"):
        move(cluster, tmp_path)


def test_a_move_that_does_not_happen_is_reported_at_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(GovcloudError, match="nanshan-data1 is not primary"):
        move(Cluster(obeys=False), tmp_path)


def test_only_one_command_moves_the_estate_at_a_time(tmp_path: Path) -> None:
    cluster = Cluster()
    with lock.held(tmp_path, "drill site-loss at futian"), pytest.raises(Locked, match="site-loss"):
        move(cluster, tmp_path)
    assert not cluster.ordered
