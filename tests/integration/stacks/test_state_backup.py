"""A lost workstation, two workstations, dead hosts: the state's copies with the real engine and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from stacks.runs import engine, workspace
from stacks.state import state_backup, state_files, store
from tests.integration.stacks.machines import ESTATE, Machines
from tests.integration.stacks.test_engine import declare, run
from tests.unit.cli.command_result import CommandResult
from workstation import paths
from workstation.errors import Refused
from workstation.ssh import Access

HOST = "shaoguan-ops1"
HOLDERS = ("futian-ops1", "nanshan-ops1", "shaoguan-ops1")
Call = Callable[..., CommandResult]


@dataclass(frozen=True)
class Workstation:
    """An operator's home, and the safe in which the passphrase is kept."""

    home: Path
    safe: Path

    def lose(self) -> None:
        """The disk is gone; the new one holds only what was in the safe: the key of the hosts."""
        shutil.rmtree(self.home)
        self.home.mkdir()


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """All with power."""
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setattr(store, "instance", lambda estate: "lab-1")
    return Machines(tmp_path / "machines", monkeypatch)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workstation whose state has the estate's secrets, copied to all operations hosts; every test begins there."""
    folder = tmp_path_factory.mktemp("used")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
        patch.setenv("GOVCLOUD_HOME", str(folder / "home"))
        patch.setattr(store, "instance", lambda estate: "lab-1")
        Machines(folder / "machines", patch)
        workspace.prepare()
        store.claim("lab-1", lambda line: None)
        run(declare)
        assert engine.back_up(ESTATE, lambda line: None) == HOLDERS
        shutil.copy(state_files.passphrase_file(), folder / "safe")
    return folder


@pytest.fixture
def here(used: Path, tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Workstation:
    """Another with that past, on machines of its own."""
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "home"))
    shutil.copytree(used / "home", tmp_path / "home")
    shutil.copy(used / "safe", tmp_path / "safe")
    machines.hold(used / "machines")
    workspace.prepare()
    return Workstation(tmp_path / "home", tmp_path / "safe")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line, where the hosts are reached from here."""
    monkeypatch.setattr("cli.stacks.into_namespace", lambda estate: None)

    def invoke(*arguments: str, answer: str = "") -> CommandResult:
        result = CliRunner().invoke(app, list(arguments), input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return CommandResult(result.exit_code, result.stdout, result.stderr)

    return invoke


def change() -> None:
    """Another state: one certificate less. It is recorded, and not copied."""
    checkpoint = state_files.checkpoint("data")
    content = json.loads(checkpoint.read_text())
    resources = content["checkpoint"]["latest"]["resources"]
    resources.remove(next(item for item in resources if str(item["urn"]).endswith("certificate-operator")))
    checkpoint.write_text(json.dumps(content))


def secret_of_the_authority() -> Any:
    """As encrypted; None without a state."""
    return next((item["outputs"] for item in store.resources("data") if item["type"].endswith(":Authority")), None)


def test_a_lost_workstation_comes_back_from_an_operations_host(here: Workstation, call: Call) -> None:
    """`plan` and `up` are refused and say how; the passphrase from the safe opens the copy; then nothing differs."""
    before = secret_of_the_authority()
    here.lose()
    with pytest.raises(Refused, match=r"has no state of the estate.*in use") as refused:
        engine.up(ESTATE)
    assert f"state restore --from {HOLDERS[0]}" in refused.value.next_step
    assert not state_files.passphrase_file().exists(), "a new one would open nothing"
    asked = call("state", "restore", "--from", HOST, "--passphrase-file", str(here.safe))
    assert asked.code == 2, asked.stderr
    assert "serial 1" in asked.stderr
    assert secret_of_the_authority() is None
    done = call("state", "restore", "--from", HOST, "--passphrase-file", str(here.safe), "--yes", "--json")
    assert done.code == 0, done.stderr
    assert done.document["state"]["serial"] == 1
    assert secret_of_the_authority() == before
    assert state_files.passphrase_file().read_text() == here.safe.read_text()
    assert state_files.passphrase_file().stat().st_mode & 0o777 == 0o600
    assert set(run(declare)) == {"same"}
    state_backup.refuse_if_behind(ESTATE, Access.default())
    again = call("state", "restore", "--from", HOST)
    assert (again.code, "nothing to restore" in again.stderr) == (0, True)


@pytest.mark.parametrize(("text", "code"), [("not this one", 6), (None, 2)])
def test_without_the_right_passphrase_nothing_is_changed(
    here: Workstation, call: Call, tmp_path: Path, text: str | None, code: int
) -> None:
    """A wrong one is refused; none, where nobody can be asked, is wrong use that names the option."""
    here.lose()
    option = []
    if text is not None:
        (tmp_path / "kept").write_text(text)
        option = ["--passphrase-file", str(tmp_path / "kept")]
    done = call("state", "restore", "--from", HOST, "--yes", *option)
    assert done.code == code, done.stderr
    assert "passphrase" in done.stderr
    assert not list(here.home.rglob("*.json"))


def test_an_unchanged_state_keeps_its_serial_and_a_changed_one_gets_the_next(here: Workstation, call: Call) -> None:
    """An engine run that changes nothing makes no new copy; `list` tells who holds what."""
    run(declare)
    listed = call("state", "list", "--json").document
    assert listed["here"]["serial"] == 1
    assert [row["copy"] for row in listed["copies"]] == ["same"] * 3
    change()
    listed = call("state", "list", "--json").document
    assert listed["here"]["serial"] == 2
    assert [row["copy"] for row in listed["copies"]] == ["older"] * 3
    assert str(state_files.passphrase_file()) in listed["keep"]
    assert "safe place" in call("state", "list").stdout


def test_a_newer_state_here_is_replaced_only_when_that_is_named_and_is_kept_beside(
    here: Workstation, call: Call
) -> None:
    """Exit 6 without --replace-newer; with it, the former state and its passphrase are set aside."""
    before = secret_of_the_authority()
    change()
    refused = call("state", "restore", "--from", HOST, "--yes")
    assert refused.code == 6
    assert "newer" in refused.stderr
    assert "--replace-newer" in refused.stderr
    done = call("state", "restore", "--from", HOST, "--yes", "--replace-newer", "--json")
    assert done.code == 0, done.stderr
    former = Path(done.document["former"])
    assert {"passphrase", ".pulumi", "Pulumi.data.yaml"} <= {path.name for path in former.iterdir()}
    assert secret_of_the_authority() == before
    assert call("state", "list", "--json").document["here"]["serial"] == 1


def test_a_second_workstation_makes_the_first_one_old(
    here: Workstation, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first may change nothing before it has taken over; its own old state does not overwrite the newer copies."""
    shutil.copytree(here.home, tmp_path / "second")
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "second"))
    change()
    assert engine.back_up(ESTATE, lambda line: None) == HOLDERS
    monkeypatch.setenv("GOVCLOUD_HOME", str(here.home))
    with pytest.raises(Refused, match="newer state"):
        engine.up(ESTATE)
    held = machines.copy_of(HOST).read_bytes()
    said: list[str] = []
    assert engine.back_up(ESTATE, said.append) == ()
    assert "lacks" in said[0]
    assert machines.copy_of(HOST).read_bytes() == held
    change()
    run(declare)
    with pytest.raises(Refused, match="have diverged"):
        engine.up(ESTATE)
    assert engine.back_up(ESTATE, said.append, replace_newer=True) == HOLDERS
    state_backup.refuse_if_behind(ESTATE, Access.default())
    assert state_backup.local_metadata(ESTATE).serial == 3  # type: ignore[union-attr]


def test_a_host_that_was_away_or_lost_its_disk_gets_the_next_copy(here: Workstation, machines: Machines) -> None:
    """The hosts are asked; a memory of having sent it would be believed for ever."""
    machines.copy_of("futian-ops1").unlink()
    machines.power_off("shaoguan")
    said: list[str] = []
    assert engine.back_up(ESTATE, said.append) == ("futian-ops1", "nanshan-ops1")
    assert [line for line in said if line.startswith("shaoguan-ops1: not reached")]
    machines.power_on("shaoguan")
    assert engine.back_up(ESTATE, said.append) == HOLDERS


@pytest.mark.parametrize("damage", [b"", b"no archive"])
def test_a_damaged_copy_is_no_copy(here: Workstation, machines: Machines, call: Call, damage: bytes) -> None:
    """It is told, and the next copy takes its place."""
    machines.copy_of(HOST).write_bytes(damage)
    done = call("state", "restore", "--from", HOST, "--yes")
    assert done.code == 1
    assert "holds no copy" in done.stderr
    assert engine.back_up(ESTATE, lambda line: None) == HOLDERS
    assert machines.copy_of(HOST).read_bytes() != damage


def test_the_state_of_one_stack_that_is_gone_is_noticed(here: Workstation) -> None:
    """Going on would make its passwords anew."""
    state_files.checkpoint("data").unlink()
    state_files.checkpoint("network").write_text('{"checkpoint": {"latest": {"resources": [{"urn": "x"}]}}}')
    with pytest.raises(Refused, match="lost the state of data"):
        engine.up(ESTATE)


def test_a_dead_site_is_told_with_the_flag_that_leaves_it_out(here: Workstation, machines: Machines) -> None:
    """Before anything is begun."""
    machines.power_off("shaoguan")
    for command in (engine.up, engine.plan, engine.drift):
        with pytest.raises(Exception, match="shaoguan does not answer") as told:
            command(ESTATE)
        assert "--without shaoguan" in str(told.value)
        assert "No route to host" in str(told.value)
