"""A worker's reports of the engine's events: a planned change, or a finished change with its duration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pulumi.automation.events import EngineEvent

from stacks.runs import worker

STEP = SimpleNamespace(
    op="create",
    urn="urn:pulumi:futian::govcloud::govcloud:index:Playbook::futian-futian-kube1",
    type="govcloud:index:Playbook",
    old=None,
    new=SimpleNamespace(inputs={"host": "futian-kube1"}, outputs={}, protect=False),
    detailed_diff={},
)


def event(**what: Any) -> EngineEvent:
    """One event: the start of a step, its end, or neither."""
    blank: dict[str, Any] = {"resource_pre_event": None, "res_outputs_event": None, "diagnostic_event": None}
    return cast(EngineEvent, SimpleNamespace(**{**blank, **what}))


BEGINS = event(resource_pre_event=SimpleNamespace(metadata=STEP))
ENDS = event(res_outputs_event=SimpleNamespace(metadata=STEP))


def reports(planned: bool, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Return the reports about one host that takes 41.5 s."""
    found: list[tuple[str, Any]] = []
    clock = iter((100.0, 141.5))
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(clock))
    listener = worker.Listener("futian", cast(worker.Report, lambda key, value: found.append((key, value))), planned)
    listener(BEGINS)
    listener(ENDS)
    return found


def test_a_host_is_reported_when_it_starts_and_with_its_seconds_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    said, (key, change) = reports(False, monkeypatch)
    assert said == ("say", "futian-kube1: futian: create")
    assert (key, change["host"], change["seconds"]) == ("change", "futian-kube1", 41.5)


def test_a_plan_reports_the_change_once_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    [(key, change)] = reports(True, monkeypatch)
    assert (key, change["host"], change["seconds"]) == ("change", "futian-kube1", None)
