"""A deployment and a drill, move or upgrade exclude each other, in both orders."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from failover import lock as moves
from operations.locks import block_deployment, block_failover
from stacks.state import lock as deployments
from tests.unit.cli.command_result import Call
from workstation.errors import Locked


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the actions that were started. The actions are fakes."""
    begun: list[str] = []

    def act(name: str) -> Any:
        return lambda *arguments, **options: begun.append(name)

    for module in ("stacks", "drills"):
        monkeypatch.setattr(f"cli.{module}.into_namespace", lambda estate: None)
        monkeypatch.setattr(f"cli.{module}.need_root", lambda what: None)
    monkeypatch.setattr("tools.image.bake.ready", lambda: True)
    monkeypatch.setattr("cli.stacks.images", lambda estate, stacks: ())
    monkeypatch.setattr("stacks.runs.engine.up", act("up"))
    monkeypatch.setattr("stacks.runs.engine.destroy", act("destroy"))
    monkeypatch.setattr("failover.drills.run", act("drill"))
    monkeypatch.setattr("failover.switchover.execute", act("move"))
    for part in ("machines", "power"):
        monkeypatch.setattr(f"operations.adapters.{part}", lambda estate: None)
    monkeypatch.setattr("operations.adapters.observer", lambda estate: SimpleNamespace(snapshot=lambda: None))
    plan = SimpleNamespace(require=lambda: None)
    monkeypatch.setattr("failover.plans.plan", lambda estate, seen, intent: plan)
    return begun


@pytest.mark.parametrize("words", [["up"], ["up", "futian"], ["destroy", "--yes"]], ids=" ".join)
def test_a_deployment_is_refused_during_a_drill(call: Call, acts: list[str], home: Path, words: list[str]) -> None:
    """Exit 8 names the drill. An upgrade and a switchover hold the same lock."""
    with moves.held(home, "drill site-loss at futian"):
        done = call(*words, "--json")
    assert done.code == done.document["exit_code"] == 8
    assert f"drill site-loss at futian, process {os.getpid()}" in done.stderr
    assert not acts


@pytest.mark.parametrize(
    "words",
    [
        ["drill", "run", "site-loss", "--yes"],
        ["switchover", "--to", "nanshan", "--apply"],
        ["failover", "--to", "nanshan", "--apply"],
        ["failback", "--to", "futian", "--apply"],
    ],
    ids=" ".join,
)
def test_drills_and_moves_are_refused_during_a_deployment(
    call: Call, acts: list[str], home: Path, words: list[str]
) -> None:
    """Also if only the processes of a killed deployment still run: they hold only the engine lock."""
    (home / "state").mkdir(parents=True)
    with deployments.acquire("govcloud up"):
        done = call(*words, "--json")
    assert done.code == done.document["exit_code"] == 8
    assert f"process {os.getpid()} (`govcloud up`) since" in done.stderr
    assert not acts


def test_a_refused_drill_never_has_the_lock_that_an_upgrade_needs_next(home: Path) -> None:
    """Between two sites an upgrade holds the failover lock, but not the engine lock."""
    with moves.held(home, "upgrade of Kubernetes"):
        with pytest.raises(Locked, match="upgrade of Kubernetes"), block_deployment():
            pass
        assert not (home / "state").exists()


def test_each_releases_its_lock_at_its_end(home: Path) -> None:
    """And neither takes the lock that its own engine or run takes later."""
    with block_failover(), deployments_lock(home):
        pass
    with block_deployment(), moves.held(home, "drill site-loss at futian"):
        pass
    with block_failover():
        pass


def deployments_lock(home: Path) -> Any:
    """Take the lock like the engine."""
    (home / "state").mkdir(parents=True, exist_ok=True)
    return deployments.acquire("govcloud up")
