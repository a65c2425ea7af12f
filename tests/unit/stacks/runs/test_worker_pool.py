"""Reports of workers, and the errors made from them."""

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


def test_a_result_collects_its_workers_reports() -> None:
    """Progress is passed on at once. An error that is reported twice is kept once."""
    said: list[str] = []
    result = StackResult(stack="network")
    change = {
        "stack": "network",
        "op": "update",
        "resource": "network-futian-edge1",
        "host": "futian-edge1",
        "details": ["x"],
    }
    for report in ({"say": "futian-edge1: frr"}, {"change": change}, {"error": "a"}, {"error": "a"}, {"error": ""}):
        result.take(json.dumps(report), said.append)
    assert said == ["futian-edge1: frr"]
    assert result.changes[0].details == ("x",)
    assert (result.errors, result.done) == (["a"], False)
    result.take(json.dumps({"ended": "done"}), said.append)
    assert result.done


WORKER = """#!/bin/sh
read -r request
case "$5" in futian) sleep 0.6 ;; esac
echo "{\\"say\\": \\"$(nice)\\"}"
echo '{"ended": "done"}'
"""
"""Started as `python -P -m stacks.runs.worker OPERATION STACK`. Futian takes longer."""


@pytest.fixture
def said() -> list[str]:
    """Lines from the workers."""
    return []


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> WorkerPool:
    """A pool whose workers only take time."""
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    workspace.prepare()
    pool = WorkerPool("up", load(), (), said.append)
    worker = tmp_path / "worker"
    worker.write_text(WORKER, encoding="utf-8")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    return pool


def test_each_stack_reports_the_seconds_of_its_own_worker(pool: WorkerPool) -> None:
    """Not the seconds of its phase: stacks of one phase run in parallel and are counted separately."""
    begun = time.monotonic()
    assert pool.run(["futian", "shaoguan"])
    whole = time.monotonic() - begun
    took = {result.stack: result.seconds for result in pool.results}
    assert took["futian"] is not None
    assert took["shaoguan"] is not None
    assert 0.6 <= took["futian"] <= whole
    assert 0 < took["shaoguan"] < took["futian"]


def test_engines_have_lower_priority_than_services_for_citizens(pool: WorkerPool, said: list[str]) -> None:
    """In a lab both share the same processors."""
    assert pool.run(["shaoguan"])
    assert [int(niceness) for niceness in said] == [min(os.nice(0) + 10, 19)]


def test_a_stack_whose_worker_was_not_started_has_no_seconds(pool: WorkerPool) -> None:
    pool.stop("the disk is full")
    assert not pool.run(["futian"])
    assert [result.seconds for result in pool.results] == [None]


def test_an_update_reports_changes_and_seconds_by_stack() -> None:
    """Seconds are rounded. A stack that was not started has none."""
    change = Change(stack="futian", op="create", resource="futian-futian-kube1", host="futian-kube1")
    results = [StackResult(stack="futian", changes=[change], done=True, seconds=41.2345), StackResult(stack="platform")]
    document = json.loads(json.dumps(engine._up_result(results, 50.06, ("nanshan-kube1",)).as_json()))
    assert document["stacks"] == {"futian": 1, "platform": 0}
    assert document["stack_seconds"] == {"futian": 41.2}
    assert (document["changes"], document["seconds"]) == (1, 50.1)
    assert (document["hosts_changed"], document["deferred"]) == (["futian-kube1"], ["nanshan-kube1"])


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("futian-edge1: role frr, task 'x': broken", engine.StacksFailed, 1),
        ('resource "urn:…" cannot be deleted\nas it is currently marked for protection.', Refused, 6),
    ],
)
def test_a_failure_names_the_stack_and_protection_is_a_refusal(
    error: str, kind: type[GovcloudError], code: int
) -> None:
    """Finished stacks are not named."""
    failure = engine._failure([StackResult(stack="network", done=True), StackResult(stack="data", errors=[error])])
    assert type(failure) is kind
    assert failure.exit_code == code
    assert failure.message.startswith("data: ")


def test_a_diff_shows_two_lines_around_a_change() -> None:
    """From the text on the host to the declared text."""
    text = "\n".join(str(n) for n in range(9))
    lines = unified("/etc/x", text, text.replace("4", "four")).splitlines()
    assert lines[:2] == ["--- /etc/x (on the host)", "+++ /etc/x (declared)"]
    assert lines[3:] == [" 2", " 3", "-4", "+four", " 5", " 6"]
