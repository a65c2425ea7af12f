"""What becomes of the stacks' state: a workstation that is lost, an `up` that is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api import Lab
from tests.lab.estate_on_lab import Hosts, govcloud, until_well
from tests.waiting import until
from workstation import paths

pytestmark = pytest.mark.lab


@pytest.fixture
def hosts(lab: Lab) -> Hosts:
    """An estate that is deployed and well."""
    until_well(180)
    return Hosts(lab)


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Path]:
    """The state and the engine's folder are gone; answers the safe with the passphrase. Brought back if it fails."""
    kept, safe = tmp_path / "kept", tmp_path / "safe"
    shutil.copy(paths.home() / "engine" / "passphrase", safe)
    kept.mkdir()
    for folder in ("state", "engine"):
        shutil.move(paths.home() / folder, kept / folder)
    yield safe
    if not (paths.home() / "state" / ".pulumi").exists():
        for folder in ("state", "engine"):
            shutil.rmtree(paths.home() / folder, ignore_errors=True)
            shutil.move(kept / folder, paths.home() / folder)


def test_a_lost_workstation_gets_its_state_back_from_a_remote_operations_host(hosts: Hosts, lost: Path) -> None:
    """`up` is refused (6) and names the way; with the passphrase from the safe it goes on and changes nothing."""
    refused = govcloud("up")
    assert refused.code == 6, refused.stderr
    assert "state restore --from" in refused.stderr
    listed = govcloud("state", "list", "--json")
    assert listed.code == 0, listed.stderr
    assert listed.report["here"] is None
    assert all("state" in row for row in listed.report["copies"]), listed.stdout
    argv = ("state", "restore", "--from", "shaoguan-ops1", "--passphrase-file", str(lost))
    asked = govcloud(*argv)
    assert asked.code == 2, asked.stderr
    assert "nothing was changed" in asked.stderr
    done = govcloud(*argv, "--yes", "--json")
    assert done.code == 0, done.stderr
    again = govcloud("up", "--json")
    assert again.code == 0, again.stderr
    assert again.report["changes"] == 0, again.stderr
    assert {row["copy"] for row in govcloud("state", "list", "--json").report["copies"]} == {"same"}


def test_a_killed_up_is_told_to_the_next_which_waits_its_turn_and_goes_on(hosts: Hosts) -> None:
    """kill -9 in the middle of a repair: the host that had begun is finished, then all is as declared."""
    hosts.run("futian-ops1", "systemctl", "stop", "prometheus")
    argv = [str(paths.repo() / "govcloud"), "up", "futian"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        assert any("futian-ops1: futian: update" in line for line in first.stderr)
        first.send_signal(signal.SIGKILL)
    codes = []

    def goes_on() -> bool:
        codes.append(govcloud("up", "futian").code)
        return codes[-1] != 8

    until("the killed run has ended", goes_on, 120)
    assert set(codes) <= {0, 8}
    assert hosts.run("futian-ops1", "systemctl", "is-active", "prometheus").strip() == "active"
    assert govcloud("drift", "futian").code == 0
