"""An `up` without a new declaration only refreshes, with the real engine, and finds changes made by hand."""

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
    """All machines powered on, and a provider whose hosts are folders."""
    prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(workspace, "_plugin", lambda name, module: None)
    return Machines(tmp_path / "machines", monkeypatch)


def test_an_unchanged_estate_is_refreshed_and_a_manual_edit_is_repaired(machines: Machines, tmp_path: Path) -> None:
    """The engine writes a checkpoint at every update. An unchanged checkpoint proves that there was only a refresh."""
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
    repaired = engine.up(REAL, STACK)
    assert repaired.hosts_changed == (EDITED,)
    assert log(tmp_path).count(f"begun {EDITED}") == 2
    assert engine.up(REAL, STACK).changes == 0


@pytest.mark.nightly
def test_a_new_declaration_is_applied(machines: Machines) -> None:
    """A refresh alone finds no difference, because the hosts are as declared before."""
    engine.up(REAL, STACK)
    links = tuple(link for link in REAL.links if link.name != "sg-prov")
    other = REAL.model_copy(update={"links": links})
    assert [change.host for change in engine.plan(other, STACK).changes] == ["shaoguan-edge1"]
    assert engine.up(other, STACK).hosts_changed == ("shaoguan-edge1",)
    assert engine.up(other, STACK).changes == 0
