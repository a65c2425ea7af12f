"""What becomes of the stacks' state: a workstation that is lost, a site that is dead while the others change."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.estate_on_lab import Hosts, govcloud, until_well
from tests.polling import until
from workstation import paths

pytestmark = pytest.mark.lab

DEAD = "shaoguan"
TOLD_WITHIN_S = 60
"""How soon a dead site must be told: ssh gives up after 5 to 15 s, and looks twice."""


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


@pytest.fixture
def dark(hosts: Hosts) -> Iterator[Hosts]:
    """One site has no power; all have afterwards."""
    hosts.lab.power_off([DEAD])
    yield hosts
    hosts.lab.power_on([DEAD], wait=True)
    until_well(300)


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


@pytest.mark.nightly
def test_a_dead_site_is_left_out_and_catches_up_at_its_return(hosts: Hosts, request: pytest.FixtureRequest) -> None:
    """Without the flag a sentence names it, soon; with it the others are changed; after the return the rest follows."""
    hosts.run("shaoguan-ops1", "sh", "-c", "systemctl stop prometheus; systemctl disable prometheus; sync")
    request.getfixturevalue("dark")
    hosts.run("nanshan-ops1", "systemctl", "stop", "prometheus")
    begun = time.monotonic()
    for command in ("up", "drift"):
        told = govcloud(command)
        assert told.code == 1, told.stderr
        assert "shaoguan does not answer" in told.stderr
        assert "--without shaoguan" in told.stderr
        assert "Traceback" not in told.stderr
    assert time.monotonic() - begun < 2 * TOLD_WITHIN_S
    left_out = {host.name for host in hosts.lab.estate.hosts_at(DEAD)}
    found = govcloud("drift", "--without", DEAD, "--json")
    assert found.code == 10, found.stderr
    assert set(found.report["differences"]) == {"nanshan-ops1"}
    done = govcloud("up", "--without", DEAD, "--json")
    assert done.code == 0, done.stderr
    assert set(done.report["deferred"]) == left_out
    assert done.report["hosts_changed"] == ["nanshan-ops1"]
    assert all(name in done.stderr for name in left_out)
    hosts.lab.power_on([DEAD], wait=True)
    caught_up = govcloud("up", "--json")
    assert caught_up.code == 0, caught_up.stderr
    assert caught_up.report["hosts_changed"] == ["shaoguan-ops1"], caught_up.stderr
    assert hosts.run("shaoguan-ops1", "systemctl", "is-active", "prometheus").strip() == "active"
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
