"""Backups of the state with the real engine and command line: a lost workstation, two workstations, dead hosts."""

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
    """An operator's home, and the safe with the passphrase."""

    home: Path
    safe: Path

    def lose(self) -> None:
        """Replace the disk with an empty one."""
        shutil.rmtree(self.home)
        self.home.mkdir()


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """All machines powered on."""
    monkeypatch.setenv("GOVCLOUD_CACHE", str(paths.cache()))
    monkeypatch.setattr(store, "instance", lambda estate: "lab-1")
    return Machines(tmp_path / "machines", monkeypatch)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workstation whose state has the estate's secrets, backed up to all operations hosts.

    Every test starts from it.
    """
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
    """A copy of the used workstation, on separate machines."""
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "home"))
    shutil.copytree(used / "home", tmp_path / "home")
    shutil.copy(used / "safe", tmp_path / "safe")
    machines.copy_disks(used / "machines")
    workspace.prepare()
    return Workstation(tmp_path / "home", tmp_path / "safe")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line, with hosts that are reachable from here."""
    monkeypatch.setattr("cli.stacks.into_namespace", lambda estate: None)

    def invoke(*arguments: str, answer: str = "") -> CommandResult:
        result = CliRunner().invoke(app, list(arguments), input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return CommandResult(result.exit_code, result.stdout, result.stderr)

    return invoke


def change() -> None:
    """Change the local state: remove one certificate. The change is recorded, but not backed up."""
    checkpoint = state_files.checkpoint("data")
    content = json.loads(checkpoint.read_text())
    resources = content["checkpoint"]["latest"]["resources"]
    resources.remove(next(item for item in resources if str(item["urn"]).endswith("certificate-operator")))
    checkpoint.write_text(json.dumps(content))


def secret_of_the_authority() -> Any:
    """Return the authority's encrypted outputs, or None without a state."""
    return next((item["outputs"] for item in store.resources("data") if item["type"].endswith(":Authority")), None)


def test_a_lost_workstation_is_restored_from_an_operations_host(here: Workstation, call: Call) -> None:
    """`up` is refused and gives the command to restore the state.

    The passphrase from the safe decrypts the backup. After the restore there is no difference.
    """
    before = secret_of_the_authority()
    here.lose()
    with pytest.raises(Refused, match=r"has no state of the estate.*in use") as refused:
        engine.up(ESTATE)
    assert f"state restore --from {HOLDERS[0]}" in refused.value.next_step
    assert not state_files.passphrase_file().exists(), "a new passphrase would decrypt nothing"
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
def test_a_restore_without_the_right_passphrase_changes_no_file(
    here: Workstation, call: Call, tmp_path: Path, text: str | None, code: int
) -> None:
    """A wrong passphrase is refused. A missing one, without a terminal to ask, is wrong use and names the option."""
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
    """An engine run without changes makes no new serial. `state list` shows the backup on each host."""
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


def test_a_newer_local_state_is_replaced_only_with_replace_newer_and_is_set_aside(
    here: Workstation, call: Call
) -> None:
    """Exit 6 without --replace-newer. With it, the previous state and its passphrase are set aside."""
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


def test_a_change_on_a_second_workstation_blocks_the_first(
    here: Workstation, machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one must restore the newer state before it may change anything.

    Its old state does not replace newer backups.
    """
    shutil.copytree(here.home, tmp_path / "second")
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path / "second"))
    change()
    assert engine.back_up(ESTATE, lambda line: None) == HOLDERS
    monkeypatch.setenv("GOVCLOUD_HOME", str(here.home))
    with pytest.raises(Refused, match="newer state"):
        engine.up(ESTATE)
    before = machines.backup_of(HOST).read_bytes()
    said: list[str] = []
    assert engine.back_up(ESTATE, said.append) == ()
    assert "lacks" in said[0]
    assert machines.backup_of(HOST).read_bytes() == before
    change()
    run(declare)
    with pytest.raises(Refused, match="have diverged"):
        engine.up(ESTATE)
    assert engine.back_up(ESTATE, said.append, replace_newer=True) == HOLDERS
    state_backup.refuse_if_behind(ESTATE, Access.default())
    assert state_backup.local_metadata(ESTATE).serial == 3  # type: ignore[union-attr]


def test_a_host_that_was_off_or_lost_its_disk_gets_the_next_backup(here: Workstation, machines: Machines) -> None:
    """The hosts are asked for their backup. A local record of sent backups would stay wrong forever."""
    machines.backup_of("futian-ops1").unlink()
    machines.power_off("shaoguan")
    said: list[str] = []
    assert engine.back_up(ESTATE, said.append) == ("futian-ops1", "nanshan-ops1")
    assert [line for line in said if line.startswith("shaoguan-ops1: not reached")]
    machines.power_on("shaoguan")
    assert engine.back_up(ESTATE, said.append) == HOLDERS


@pytest.mark.parametrize("damage", [b"", b"no archive"])
def test_a_damaged_backup_counts_as_missing(here: Workstation, machines: Machines, call: Call, damage: bytes) -> None:
    """It is reported, and the next backup replaces it."""
    machines.backup_of(HOST).write_bytes(damage)
    done = call("state", "restore", "--from", HOST, "--yes")
    assert done.code == 1
    assert "holds no backup" in done.stderr
    assert engine.back_up(ESTATE, lambda line: None) == HOLDERS
    assert machines.backup_of(HOST).read_bytes() != damage


def test_the_lost_state_of_one_stack_is_noticed(here: Workstation) -> None:
    """Without this check the next run would make new passwords."""
    state_files.checkpoint("data").unlink()
    state_files.checkpoint("network").write_text('{"checkpoint": {"latest": {"resources": [{"urn": "x"}]}}}')
    with pytest.raises(Refused, match="lost the state of data"):
        engine.up(ESTATE)


def test_a_dead_site_is_reported_with_the_flag_that_skips_it(here: Workstation, machines: Machines) -> None:
    """It is reported before any host is changed."""
    machines.power_off("shaoguan")
    for command in (engine.up, engine.plan, engine.drift):
        with pytest.raises(Exception, match="shaoguan does not answer") as caught:
            command(ESTATE)
        assert "--without shaoguan" in str(caught.value)
        assert "No route to host" in str(caught.value)
