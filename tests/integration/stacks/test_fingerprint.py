"""An `up` for which nothing new is declared only reads, with the real engine, and finds what was changed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks.runs import engine, workspace
from stacks.state import state_files
from tests.integration.stacks.machines import ESTATE, Machines
from tests.integration.stacks.test_interrupted import log, prepared
from tests.integration.stacks.test_without import compared

REAL = ESTATE.model_copy(update={"lab": False})
STACK = ["province"]
ROUTERS = {"futian-edge1", "nanshan-edge1", "shaoguan-edge1"}
EDITED = "nanshan-edge1"


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """All with power, and a provider whose hosts are folders."""
    prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(workspace, "_plugin", lambda name, module: None)
    return Machines(tmp_path / "machines", monkeypatch)


def test_an_unchanged_estate_is_read_and_a_hand_edit_is_put_right(machines: Machines, tmp_path: Path) -> None:
    """The engine writes a checkpoint at every update, so one that stays as it is shows that there was only a read."""
    assert engine.up(REAL, STACK).changes == len(ROUTERS)
    before = state_files.checkpoint("province").read_bytes()
    compared(tmp_path)
    assert engine.up(REAL, STACK).changes == 0
    assert compared(tmp_path) == ROUTERS
    assert engine.plan(REAL, STACK).changes == ()
    assert compared(tmp_path) == ROUTERS
    assert state_files.checkpoint("province").read_bytes() == before

    (tmp_path / "machines" / f"edited-{EDITED}").touch()
    assert [change.host for change in engine.plan(REAL, STACK).changes] == [EDITED]
    put_right = engine.up(REAL, STACK)
    assert put_right.hosts_changed == (EDITED,)
    assert log(tmp_path).count(f"begun {EDITED}") == 2
    assert engine.up(REAL, STACK).changes == 0


def test_what_is_declared_anew_is_applied(machines: Machines) -> None:
    """Although a read finds nothing: the hosts are as they were declared before."""
    engine.up(REAL, STACK)
    links = tuple(link for link in REAL.links if link.name != "sg-prov")
    other = REAL.model_copy(update={"links": links})
    assert [change.host for change in engine.plan(other, STACK).changes] == ["shaoguan-edge1"]
    assert engine.up(other, STACK).hosts_changed == ("shaoguan-edge1",)
    assert engine.up(other, STACK).changes == 0
