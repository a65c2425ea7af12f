"""What workers tell, and how a failure is told on."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from estate.loader import load
from stacks.runs import engine, workspace
from stacks.runs.events import unified
from stacks.runs.reports import Change
from stacks.runs.worker_pool import StackResult, WorkerPool
from workstation.errors import GovcloudError, Refused


def test_an_answer_gathers_what_its_worker_tells() -> None:
    """Progress goes on at once; a fault told twice is one."""
    said: list[str] = []
    result = StackResult(stack="network")
    change = {
        "stack": "network",
        "op": "update",
        "resource": "network-futian-edge1",
        "host": "futian-edge1",
        "details": ["x"],
    }
    for told in ({"say": "futian-edge1: frr"}, {"change": change}, {"fault": "a"}, {"fault": "a"}, {"fault": ""}):
        result.take(json.dumps(told), said.append)
    assert said == ["futian-edge1: frr"]
    assert result.changes[0].details == ("x",)
    assert (result.faults, result.done) == (["a"], False)
    result.take(json.dumps({"ended": "done"}), said.append)
    assert result.done


WORKER = """#!/bin/sh
read -r request
case "$5" in futian) sleep 0.6 ;; esac
echo "{\\"say\\": \\"$(nice)\\"}"
echo '{"ended": "done"}'
"""
"""Is started as `python -P -m stacks.runs.worker OPERATION STACK`; Futian takes longer."""


@pytest.fixture
def said() -> list[str]:
    """What workers said."""
    return []


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> WorkerPool:
    """Its workers do nothing but take time."""
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    workspace.prepare()
    made = WorkerPool("up", load(), (), said.append)
    worker = tmp_path / "worker"
    worker.write_text(WORKER, encoding="utf-8")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    return made


def test_each_stack_tells_how_long_its_own_worker_took(pool: WorkerPool) -> None:
    """Not how long its stage took: of those side by side, one is not charged with another's time."""
    begun = time.monotonic()
    assert pool.run(["futian", "shaoguan"])
    whole = time.monotonic() - begun
    took = {result.stack: result.seconds for result in pool.results}
    assert took["futian"] is not None
    assert took["shaoguan"] is not None
    assert 0.6 <= took["futian"] <= whole
    assert 0 < took["shaoguan"] < took["futian"]


def test_engines_come_after_what_serves_citizens(pool: WorkerPool, said: list[str]) -> None:
    """In a lab both have the same processors."""
    assert pool.run(["shaoguan"])
    assert [int(niceness) for niceness in said] == [min(os.nice(0) + 10, 19)]


def test_a_stack_whose_worker_was_not_started_took_no_time(pool: WorkerPool) -> None:
    pool.stop("the disk is full")
    assert not pool.run(["futian"])
    assert [result.seconds for result in pool.results] == [None]


def test_an_update_tells_changes_and_seconds_by_stack() -> None:
    """Seconds as a person reads them; a stack that was not begun has none."""
    change = Change(stack="futian", op="create", resource="futian-futian-kube1", host="futian-kube1")
    results = [StackResult(stack="futian", changes=[change], done=True, seconds=41.2345), StackResult(stack="platform")]
    told = json.loads(json.dumps(engine._up_result(results, 50.06, ("nanshan-kube1",)).as_json()))
    assert told["stacks"] == {"futian": 1, "platform": 0}
    assert told["stack_seconds"] == {"futian": 41.2}
    assert (told["changes"], told["seconds"]) == (1, 50.1)
    assert (told["hosts_changed"], told["deferred"]) == (["futian-kube1"], ["nanshan-kube1"])


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("futian-edge1: role frr, task 'x': broken", engine.StacksFailed, 1),
        ('resource "urn:…" cannot be deleted\nas it is currently marked for protection.', Refused, 6),
    ],
)
def test_a_failure_names_the_stack_and_protection_is_a_refusal(
    fault: str, kind: type[GovcloudError], code: int
) -> None:
    """Stacks that are done are not named."""
    failure = engine._failure([StackResult(stack="network", done=True), StackResult(stack="data", faults=[fault])])
    assert type(failure) is kind
    assert failure.exit_code == code
    assert failure.message.startswith("data: ")


def test_a_diff_shows_two_lines_around_a_change() -> None:
    """From what is on the host to what is declared."""
    text = "\n".join(str(n) for n in range(9))
    lines = unified("/etc/x", text, text.replace("4", "four")).splitlines()
    assert lines[:2] == ["--- /etc/x (on the host)", "+++ /etc/x (declared)"]
    assert lines[3:] == [" 2", " 3", "-4", "+four", " 5", " 6"]
