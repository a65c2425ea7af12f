"""Inspects every kind of host with testinfra over SSH."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import testinfra
from testinfra.host import Host

from estate.addressing import plan
from lab import names
from lab.command import network_of
from playbooks.render import node_exporter, scrape_configs
from tests.lab.estate_on_lab import Hosts
from tests.polling import until
from workstation import paths

pytestmark = pytest.mark.lab


@pytest.fixture
def host_of(deployed: Hosts, tmp_path: Path) -> Iterator[object]:
    """A function that returns a testinfra host by name. The test's thread is in the operator's namespace meanwhile."""
    config, access = tmp_path / "config", deployed.lab.access
    config.write_text(
        f"Host *\n  User {access.user}\n  IdentityFile {access.key}\n  UserKnownHostsFile {access.known_hosts}\n"
        "  StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n",
        encoding="utf-8",
    )
    addresses = plan(deployed.lab.estate)
    with network_of(Path(names.NETNS_DIR) / names.OPERATOR):
        yield lambda name: testinfra.get_host(f"ssh://{addresses.management(name)}", ssh_config=str(config))


UNITS = {
    "futian-edge1": ("frr", "nftables", "govcloud-announcer", "systemd-networkd"),
    "futian-kube1": (
        "haproxy",
        "nftables",
        "containerd",
        "kubelet",
        "kube-proxy",
        "kube-apiserver",
        "prometheus-node-exporter",
    ),
    "futian-data1": ("etcd", "patroni", "nftables", "prometheus-node-exporter"),
    "futian-ops1": ("etcd", "prometheus", "prometheus-blackbox-exporter", "prometheus-node-exporter"),
    "shaoguan-data1": ("etcd", "patroni"),
    "internet-edge1": ("frr", "systemd-networkd"),
    "province-cloud1": ("systemd-networkd",),
    "citizen1": ("systemd-networkd",),
}


@pytest.mark.parametrize(("name", "unit"), [(name, unit) for name, units in UNITS.items() for unit in units])
def test_unit_runs_and_starts_at_boot(host_of: object, name: str, unit: str) -> None:
    """After power-on, a machine starts its units without an operator."""
    service = host_of(name).service(unit)  # type: ignore[operator]
    assert service.is_enabled
    assert service.is_running


@pytest.mark.parametrize(
    ("name", "forwards"), [("internet-edge1", 1), ("province-cloud1", 0), ("citizen1", 0), ("bureau1", 0)]
)
def test_only_a_peers_router_forwards(host_of: object, name: str, forwards: int) -> None:
    """The other hosts imitate a single machine. A second way out would hide the effect of the border's filter."""
    host: Host = host_of(name)  # type: ignore[operator]
    assert host.sysctl("net.ipv4.ip_forward") == forwards
    assert host.sysctl("net.ipv6.conf.all.forwarding") == forwards


@pytest.mark.parametrize("name", ["citizen1", "bureau1"])
def test_a_vantage_can_measure_and_has_one_route_to_the_service(host_of: object, deployed: Hosts, name: str) -> None:
    """The load generator's library is installed. The network's router is the way to the service in both families."""
    host: Host = host_of(name)  # type: ignore[operator]
    assert host.run("/usr/bin/python3 -c 'import aiohttp'").rc == 0
    gateway, service = plan(deployed.lab.estate).hosts[name].lan.gateway, plan(deployed.lab.estate).anycast["approval"]
    assert gateway is not None
    assert f" via {gateway.ipv4} " in host.run(f"ip -4 route get {service.ipv4}").stdout
    assert f" via {gateway.ipv6} " in host.run(f"ip -6 route get {service.ipv6}").stdout


LISTENING = {
    "futian-kube1": (
        "tcp://10.64.1.11:443",
        "tcp://203.0.113.10:443",
        "tcp://10.64.1.11:5432",
        "tcp://10.64.1.11:5433",
    ),
    "futian-data1": (
        "tcp://10.64.1.21:2379",
        "tcp://10.64.1.21:2380",
        "tcp://10.64.1.21:5432",
        "tcp://10.64.1.21:8008",
        "tcp://10.64.1.21:9100",
    ),
    "futian-ops1": ("tcp://10.64.1.31:9090",),
}


@pytest.mark.parametrize(("name", "socket"), [(name, one) for name, sockets in LISTENING.items() for one in sockets])
def test_socket_listens(host_of: object, name: str, socket: str) -> None:
    """Each daemon listens at its planned address and port."""
    assert host_of(name).socket(socket).is_listening  # type: ignore[operator]


@pytest.mark.parametrize("site", ["futian", "nanshan", "shaoguan"])
def test_prometheus_reaches_every_target_and_has_every_rule(deployed: Hosts, site: str) -> None:
    """On each site's monitoring host, every target is up, every alert is loaded, and the prober gets answers."""
    hosts, host = deployed, f"{site}-ops1"
    base = f"http://{plan(deployed.lab.estate).lan(host).ipv4}:{scrape_configs.PROMETHEUS_PORT}/api/v1"

    def ask(path: str) -> dict[str, Any]:
        return dict(json.loads(hosts.run(host, "curl", "-sg", "-m", "5", f"{base}/{path}"))["data"])

    def down() -> list[str]:
        return [one["scrapeUrl"] for one in ask("targets?state=active")["activeTargets"] if one["health"] != "up"]

    until("every target is up", lambda: not down(), 60)
    jobs = {one["labels"]["job"] for one in ask("targets?state=active")["activeTargets"]}
    assert jobs == {
        one["job_name"]
        for one in scrape_configs.scrape_jobs(
            deployed.lab.estate, plan(deployed.lab.estate), deployed.lab.estate.host(host)
        )
    }
    loaded = {rule["name"] for group in ask("rules")["groups"] for rule in group["rules"] if rule["type"] == "alerting"}
    assert loaded == {file.stem for file in (paths.repo() / "docs/runbooks").glob("[A-Z]*.md")} - {"README"}
    query = 'min(probe_success{path="healthz"})'
    until(
        "every probe gets an answer",
        lambda: [one["value"][1] for one in ask(f"query?query={quote(query)}")["result"]] == ["1"],
        60,
    )


def test_prometheus_has_the_capacity_of_every_data_disk(deployed: Hosts) -> None:
    """The metrics cover only data disks. Each disk has about the declared size and is writable."""
    hosts, host = deployed, "shaoguan-ops1"
    base = f"http://{plan(deployed.lab.estate).lan(host).ipv4}:{scrape_configs.PROMETHEUS_PORT}/api/v1"
    query = '{__name__=~"node_filesystem_.*"}'

    def reported() -> dict[tuple[str, str], dict[str, float]]:
        answer = json.loads(hosts.run(host, "curl", "-sg", "-m", "5", f"{base}/query?query={quote(query)}"))
        found: dict[tuple[str, str], dict[str, float]] = {}
        for one in answer["data"]["result"]:
            labels = one["metric"]
            name = labels["__name__"].removeprefix("node_filesystem_")
            found.setdefault((labels["host"], labels["mountpoint"]), {})[name] = float(one["value"][1])
        return found

    disks = {(one.name, one.disk.mount): one.disk for one in deployed.lab.estate.managed_hosts if one.disk}
    until("every data disk is reported", lambda: reported().keys() == disks.keys(), 60)
    for place, figures in reported().items():
        declared = disks[place].size_mib * 1024 * 1024
        assert declared * 0.85 < figures["size_bytes"] <= declared, place
        assert declared * 0.15 < figures["avail_bytes"] <= figures["size_bytes"], place
        assert (figures["readonly"], figures["device_error"]) == (0, 0), place


@pytest.mark.nightly
def test_only_monitoring_hosts_can_read_the_disk_exporter(deployed: Hosts) -> None:
    """The site's router is in the same segment, so only the host's own filter can refuse it."""
    hosts, addresses = deployed, plan(deployed.lab.estate)
    for host in deployed.lab.estate.managed_hosts:
        if host.disk:
            argv = ["python3", "-c", KNOCK, str(addresses.lan(host.name).ipv4), str(node_exporter.PORT)]
            assert hosts.run("nanshan-ops1", *argv) == "connected", host.name
            assert hosts.run(deployed.lab.estate.router_of(host.at).name, *argv) == "TimeoutError", host.name


KNOCK = """
import socket, sys
try:
    socket.create_connection(sys.argv[1:3], 2).close()
    print('connected', end='')
except OSError as error:
    print(type(error).__name__, end='')
"""


@pytest.mark.parametrize("name", ["futian-data1", "futian-ops1"])
def test_the_account_of_the_disk_exporter_cannot_read_keys(host_of: object, name: str) -> None:
    """It has its own dynamic account. Debian's account for it is also Prometheus's, which reads keys."""
    host: Host = host_of(name)  # type: ignore[operator]
    process = host.run(f"systemctl show --value --property=MainPID {node_exporter.UNIT}").stdout.strip()
    lines = host.file(f"/proc/{process}/status").content_string.splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    user = status["Uid"][0]
    assert f":x:{user}:" not in host.file("/etc/passwd").content_string
    assert set(status["Groups"]) <= {user}


def test_the_registers_have_the_declared_number_of_people(deployed: Hosts) -> None:
    """A few people are in no register of residents. They are a test case of the service."""
    query = "SELECT people, (SELECT count(*) FROM public_security.resident) FROM approval.register_load"
    argv = ("runuser", "-u", "postgres", "--", "psql", "-X", "-A", "-t", "-d", "approval", "-c", query)
    row = deployed.run("shaoguan-data1", "env", "-C", "/", *argv)
    people, residents = map(int, row.strip().split("|"))
    assert people == deployed.lab.estate.registers.people
    assert people * 0.99 < residents <= people


@pytest.mark.parametrize("host", ["nanshan-kube1", "futian-ops1"])
def test_only_a_nodes_own_pods_reach_the_database_through_it(deployed: Hosts, host: str) -> None:
    """Another node and an operations host cannot connect to the database ports that a node offers to its pods."""
    hosts, address = deployed, str(plan(deployed.lab.estate).lan("futian-kube1").ipv4)
    for port in ("5432", "5433"):
        argv = ["python3", "-c", CONNECT, address, port]
        assert hosts.run("futian-kube1", *argv) == "connected"
        assert hosts.run(host, *argv, check=False) == ""


CONNECT = "import socket, sys; socket.create_connection(sys.argv[1:3], 3); print('connected', end='')"


@pytest.mark.parametrize("name", ["futian-edge1", "futian-kube1", "futian-data1", "futian-ops1"])
def test_host_is_hardened(host_of: object, name: str) -> None:
    """SSH accepts no password and only the operator's key. Other accounts cannot read the host's private key."""
    host: Host = host_of(name)  # type: ignore[operator]
    settings = host.run("sshd -T").stdout
    assert "passwordauthentication no" in settings
    assert len(host.file("/root/.ssh/authorized_keys").content_string.strip().splitlines()) == 1
    if name != "futian-edge1":
        assert host.file("/etc/govcloud/pki/host.key").mode & 0o007 == 0


def test_etcd_has_five_members_and_the_leader_is_at_the_third_site(host_of: object) -> None:
    """While the estate has no problem, the leader is outside the cities."""
    host: Host = host_of("shaoguan-data1")  # type: ignore[operator]
    found = host.run("sh -c 'set -a; . /etc/govcloud/etcd/ctl.env; etcdctl endpoint status --cluster -w fields'").stdout
    assert found.count('"MemberID"') == 5
    own = next(line for line in found.splitlines() if line.startswith('"Leader"')).split(":")[1]
    assert found.count(f'"MemberID" :{own}') == 1


def test_the_primary_waits_for_another_site(host_of: object) -> None:
    """The list of members that can acknowledge a commit contains no member of the primary's own site."""
    for name in ("futian-data1", "nanshan-data1"):
        host: Host = host_of(name)  # type: ignore[operator]
        query = "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names'), current_setting('fsync')"
        row = host.run("runuser -u postgres -- psql -XAtc %s", query).stdout.strip()
        recovering, standbys, fsync = row.split("|")
        assert fsync == "on"
        if recovering == "f":
            assert standbys.startswith("ANY 1 (")
            assert name not in standbys
            assert standbys.count("data1") == 2
