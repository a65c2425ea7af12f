"""A deployment and a drill, move or upgrade exclude each other, in both orders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from estate.loader import load
from failover import lock as moves
from failover.drills import DrillOptions
from failover.plans import Intent, Operation, Plan
from operations import deploy, drill, move
from operations.locks import block_deployment, block_failover
from stacks.state import lock as deployments
from workstation.errors import Locked

ESTATE = load()


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the actions that were started. The actions are fakes."""
    begun: list[str] = []

    def act(name: str) -> Any:
        return lambda *arguments, **options: begun.append(name)

    monkeypatch.setattr("operations.deploy.images", lambda estate, stacks, on_event: ())
    monkeypatch.setattr("stacks.runs.engine.up", act("up"))
    monkeypatch.setattr("stacks.runs.engine.destroy", act("destroy"))
    monkeypatch.setattr("failover.drills.run", act("drill"))
    monkeypatch.setattr("failover.switchover.execute", act("move"))
    for part in ("machines", "observer", "drill_interfaces"):
        monkeypatch.setattr(f"operations.adapters.{part}", lambda estate: SimpleNamespace())
    return begun


@pytest.mark.parametrize(
    "deployment",
    [
        lambda: deploy.up(ESTATE, on_event=print),
        lambda: deploy.up(ESTATE, ["futian"], on_event=print),
        lambda: deploy.destroy(ESTATE, on_event=print),
    ],
    ids=["up", "up futian", "destroy"],
)
def test_a_deployment_is_refused_during_a_drill(acts: list[str], home: Path, deployment: Callable[[], object]) -> None:
    """The error names the drill. An upgrade and a switchover hold the same lock."""
    with (
        moves.held(home, "drill site-loss at futian"),
        pytest.raises(Locked, match=f"drill site-loss at futian, process {os.getpid()}"),
    ):
        deployment()
    assert not acts


def planned(operation: Operation) -> Plan:
    """Return a plan. It is not read, because the lock is taken first."""
    return Plan(
        intent=Intent(operation=operation, to="nanshan"), primary=None, candidate=None, refusals=(), steps=("",)
    )


@pytest.mark.parametrize("kind", ["drill", *Operation])
def test_drills_and_moves_are_refused_during_a_deployment(acts: list[str], home: Path, kind: str) -> None:
    """Also if only the processes of a killed deployment still run: they hold only the engine lock."""

    def run() -> object:
        if kind == "drill":
            return drill.run("site-loss", ESTATE, DrillOptions(), home=home, on_event=print)
        return move.execute(planned(Operation(kind)), ESTATE, home=home, on_event=print)

    with deployments_lock(home), pytest.raises(Locked, match=rf"process {os.getpid()} \(`govcloud up`\) since"):
        run()
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
