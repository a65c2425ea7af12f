"""The instance that a state belongs to, traces of a killed run, and removals that a plan refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estate.loader import load
from stacks.runs import engine, workspace
from stacks.runs.reports import Change
from stacks.state import state_files, store
from workstation.errors import GovcloudError, Refused


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    workspace.prepare()


def _checkpoint(stack: str, **latest: object) -> Path:
    path = state_files.checkpoint(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))
    return path


def test_the_state_of_another_lab_is_set_aside() -> None:
    """Nothing of it is lost, and the stacks start empty."""
    said: list[str] = []
    store.claim("lab-1", said.append)
    path = _checkpoint("network", resources=[{"urn": "x"}])
    store.claim("lab-1", said.append)
    assert path.exists()
    store.claim("lab-2", said.append)
    assert not path.exists()
    kept = list((state_files.state_home() / "set-aside").glob("lab-1-*/.pulumi/stacks/govcloud/network.json"))
    assert len(kept) == 1
    assert "lab-1" in said[0]


def test_without_a_lab_a_lab_estate_has_no_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error gives the command that starts a lab."""
    monkeypatch.setattr(store, "LAB_RECORD", tmp_path / "none.json")
    with pytest.raises(GovcloudError, match="lab up"):
        store.instance(load())


def test_interrupted_operations_are_named() -> None:
    """The name is the resource's name."""
    urn = "urn:pulumi:network::govcloud::govcloud:index:Playbook::network-futian-edge1"
    _checkpoint("network", resources=[], pending_operations=[{"resource": {"urn": urn}, "type": "creating"}])
    assert store.pending("network") == ["network-futian-edge1"]


def test_the_passphrase_is_created_once_and_readable_by_its_owner_only() -> None:
    """A second run keeps it."""
    path = state_files.passphrase_file()
    assert workspace.environment()["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(path)
    first = path.read_text()
    workspace.environment()
    assert path.read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lost_passphrase_is_refused_and_not_replaced_while_a_state_exists() -> None:
    """A new passphrase could not decrypt the existing state."""
    _checkpoint("network", resources=[])
    with pytest.raises(Refused, match="passphrase is missing"):
        workspace.environment()
    assert not state_files.passphrase_file().exists()


def test_a_plan_that_deletes_a_data_host_is_refused() -> None:
    """The refusal has exit code 6 and names the host."""
    gone = Change(stack="data", op="delete", resource="data-futian-data1", host="futian-data1", guarded=True)
    with pytest.raises(Refused, match="data: delete futian-data1") as refused:
        engine.guard([gone])
    assert refused.value.exit_code == 6
    engine.guard([Change(stack="data", op="update", resource="data-futian-data1", guarded=True)])


def test_the_removal_of_a_data_host_is_refused_before_any_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state still contains the host as protected."""
    urn = "urn:pulumi:data::govcloud::govcloud:stacks:Hosts$govcloud:index:Playbook::data-longgang-data1"
    _checkpoint("data", resources=[{"urn": urn, "protect": True}])
    monkeypatch.setattr(store, "instance", lambda estate: "lab-1")
    monkeypatch.setattr(engine, "_run", lambda *args, **kwargs: pytest.fail("must not run"))
    store.claim("lab-1", lambda line: None)
    with pytest.raises(Refused, match="longgang-data1"):
        engine.up(load())


def test_a_real_estate_is_never_destroyed() -> None:
    real = load().model_copy(update={"lab": False})
    with pytest.raises(Refused, match="never destroyed"):
        engine.destroy(real)
