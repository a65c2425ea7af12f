"""Deploys, compares and repairs the estate with the command line and the real engine."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from failover.switchover import PATRONICTL
from lab.api import Lab
from playbooks.render.postgresql import DIRECTORY
from tests.lab.estate_on_lab import Hosts, govcloud, primary, until_well
from tests.lab.pods_on_lab import SERVICE, all_run, kubectl
from tests.polling import until
from workstation import paths

pytestmark = pytest.mark.lab


def test_a_second_up_is_refused_and_an_interrupted_up_reports_its_changes(bare_lab: Lab) -> None:
    """A second `up` is refused (8) with the first one's process and start time. The first `up` continues.

    Ctrl-C while it creates hosts: started hosts are finished, then exit 130 without a traceback.
    """
    process = subprocess.Popen([str(paths.repo() / "govcloud"), "up", "network"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    printed = [next(line for line in process.stderr if "network" in line)]
    second = govcloud("up", "network")
    assert second.code == 8, second.stderr
    assert "process" in second.stderr
    assert "since" in second.stderr
    for line in process.stderr:
        printed.append(line)
        if "create" in line:
            process.send_signal(signal.SIGINT)
            break
    printed.append(process.communicate(timeout=300)[1])
    text = "".join(printed)
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert "`./govcloud up` continues" in text
    assert "changed so far: " in text


def test_the_estate_deploys_and_becomes_healthy(lab: Lab) -> None:
    """`up` deploys everything. Then `status` reports no problem."""
    done = govcloud("up", "--json")
    assert done.code == 0, done.stderr
    until_well(120)
    assert govcloud("status", "--json").code == 0


def test_manual_changes_and_a_stopped_unit_are_reported_and_repaired(hosts: Hosts) -> None:
    """`drift` exits 10 and names each difference, and no other. `up` repairs all."""
    hosts.run("nanshan-edge1", "sh", "-c", "echo '! by hand' >> /etc/frr/frr.conf")
    hosts.run("shaoguan-ops1", "systemctl", "stop", "prometheus")
    namespace = hosts.lab.estate.service(SERVICE).bureau
    kubectl(hosts, "nanshan-kube1", "scale", f"deployment/{SERVICE}", "--replicas=1", f"--namespace={namespace}")
    edit = (
        "-c",
        f"{DIRECTORY}/patronictl.yml",
        "edit-config",
        "--force",
        "--quiet",
        "-s",
        "maximum_lag_on_failover=1000",
    )
    hosts.run(primary(), PATRONICTL[0], *edit)
    found = govcloud("drift", "--json")
    assert found.code == 10, found.stderr
    differences = found.report["differences"]
    members = {host.name for host in hosts.lab.estate.hosts if host.database}  # each reports the cluster's settings
    workload = f"nanshan: Deployment {namespace}/{SERVICE}"
    assert set(differences) - members == {"nanshan-edge1", "shaoguan-ops1", workload}, differences
    text = json.dumps(differences)
    for difference in (
        "/etc/frr/frr.conf",
        "prometheus",
        "Patroni's maximum_lag_on_failover",
        "spec.replicas: 2 -> 1",
    ):
        assert difference in text
    repaired = govcloud("up", "--json")
    assert repaired.code == 0, repaired.stderr
    assert {"nanshan-edge1", "shaoguan-ops1"} <= set(repaired.report["hosts_changed"])
    until("the pods of nanshan run", lambda: all_run(hosts, "nanshan-kube1"), 60)
    assert "by hand" not in hosts.run("nanshan-edge1", "cat", "/etc/frr/frr.conf")
    assert hosts.run("shaoguan-ops1", "systemctl", "is-active", "prometheus").strip() == "active"


@pytest.mark.nightly
def test_an_unchanged_estate_changes_nothing(hosts: Hosts) -> None:
    """Another `up` compares every host, also repaired hosts, and changes nothing.

    In the short tier, the test above checks that `drift` reports only what was changed by hand.
    """
    again = govcloud("up", "--json")
    assert again.code == 0, again.stderr
    assert again.report["changes"] == 0, again.stderr


@pytest.mark.nightly
def test_the_plan_of_an_unchanged_estate_has_no_change(hosts: Hosts) -> None:
    """`plan` exits 0. It compares like `up`, which the short tier runs."""
    assert govcloud("plan", "--json").code == 0


def test_the_state_has_no_key_in_plain_text_and_a_backup_on_each_operations_host(hosts: Hosts) -> None:
    """Keys in the local state are encrypted. Every operations host has a backup of the state."""
    for file in (paths.home() / "state").rglob("*"):
        if file.is_file():
            assert b"PRIVATE KEY" not in file.read_bytes(), file
    for host in ("futian-ops1", "nanshan-ops1", "shaoguan-ops1"):
        assert hosts.run(host, "find", "/var/lib/govcloud", "-type", "f", "-size", "+0").strip(), host


def test_unknown_names_are_wrong_use(lab: Lab) -> None:
    """Exit 2 with the known names."""
    for argv in (["up", "luohu"], ["lab", "power", "off", "luohu-edge1"], ["lab", "cut", "nowhere"],
                 ["drill", "run", "earthquake", "--yes"],
                 ["drill", "run", "site-loss", "--site", "luohu", "--yes"]):  # fmt: skip
        done = govcloud(*argv)
        assert done.code == 2, (argv, done.stderr)
        assert "known" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_drill_asks_before_it_begins(hosts: Hosts) -> None:
    """Without an answer and without --yes, the command shows the blast radius, changes nothing and exits 2."""
    done = govcloud("drill", "run", "site-loss", "--site", "nanshan")
    assert done.code == 2
    assert "nanshan" in done.stderr
    assert hosts.lab.is_on("nanshan")
