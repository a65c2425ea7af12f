"""The stacks' state after the loss of a workstation, with a dead site, and after a killed update."""

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
REPORTED_WITHIN_S = 60
"""Time within which a dead site must be reported. ssh gives up after 5 to 15 s, and there are two attempts."""


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Path]:
    """Remove the state and the engine's folder, and return the file with the passphrase, like a safe.

    If the test fails, both are restored.
    """
    aside, safe = tmp_path / "aside", tmp_path / "safe"
    shutil.copy(paths.home() / "engine" / "passphrase", safe)
    aside.mkdir()
    for folder in ("state", "engine"):
        shutil.move(paths.home() / folder, aside / folder)
    yield safe
    if not (paths.home() / "state" / ".pulumi").exists():
        for folder in ("state", "engine"):
            shutil.rmtree(paths.home() / folder, ignore_errors=True)
            shutil.move(aside / folder, paths.home() / folder)


@pytest.fixture
def site_off(hosts: Hosts) -> Iterator[Hosts]:
    """Power off one site. Afterwards all sites have power and the estate has no problem."""
    hosts.lab.power_off([DEAD])
    yield hosts
    hosts.lab.power_on([DEAD], wait=True)
    until_well(300)


@pytest.mark.nightly
def test_a_lost_state_is_restored_from_a_remote_operations_host(hosts: Hosts, lost: Path) -> None:
    """`up` is refused (6) and names the restore command. After a restore with the passphrase, `up` changes nothing."""
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
def test_a_dead_site_can_be_skipped_and_gets_the_missed_changes_later(
    hosts: Hosts, request: pytest.FixtureRequest
) -> None:
    """Without `--without`, the error names the dead site within a minute. With it, `up` changes the other sites.

    After the site's return, `up` deploys the missed changes.
    """
    hosts.run("shaoguan-ops1", "sh", "-c", "systemctl stop prometheus; systemctl disable prometheus; sync")
    request.getfixturevalue("site_off")
    hosts.run("nanshan-ops1", "systemctl", "stop", "prometheus")
    begun = time.monotonic()
    for command in ("up", "drift"):
        failed = govcloud(command)
        assert failed.code == 1, failed.stderr
        assert "shaoguan does not answer" in failed.stderr
        assert "--without shaoguan" in failed.stderr
        assert "Traceback" not in failed.stderr
    assert time.monotonic() - begun < 2 * REPORTED_WITHIN_S
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


@pytest.mark.nightly
def test_after_a_killed_up_the_next_is_locked_out_and_then_repairs_the_rest(hosts: Hosts) -> None:
    """After SIGKILL during a repair, the workers finish the started host. Then `up` leaves all as declared."""
    hosts.run("futian-ops1", "systemctl", "stop", "prometheus")
    argv = [str(paths.repo() / "govcloud"), "up", "futian"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        assert any("futian-ops1: futian: update" in line for line in first.stderr)
        first.send_signal(signal.SIGKILL)
    codes = []

    def unlocked() -> bool:
        codes.append(govcloud("up", "futian").code)
        return codes[-1] != 8

    until("the workers of the killed run have ended", unlocked, 120)
    assert set(codes) <= {0, 8}
    assert hosts.run("futian-ops1", "systemctl", "is-active", "prometheus").strip() == "active"
    assert govcloud("drift", "futian").code == 0
