"""Alerts for a data disk that fills, turns read-only or is not mounted.

A real Prometheus with the real rules scrapes the real exporter with its rendered options. All of them are in the
test's own namespaces: the disk is a tmpfs that no other process sees, and the addresses are not reachable from outside.
Process 1 keeps the namespaces open. All processes end with it.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from estate.addressing import AddressPlan, plan
from estate.loader import load
from estate.model import Disk, Estate, Host
from lab.command import network_of
from playbooks.render import node_exporter, prometheus, scrape_configs
from tests import image_programs
from tests.integration.observe.conftest import children
from tests.polling import until

HOST, MONITORING_HOST = "futian-data1", "nanshan-ops1"
WATCHING = "127.0.0.1:9090"
SIZE_MIB = 32
WITHIN_S = 60
NOBODY = 65534


@dataclass(kw_only=True)
class Machine:
    """A host with a data disk and its exporter, together with a monitoring host."""

    folder: Path
    estate: Estate
    plan: AddressPlan
    first: int
    """The process that is number 1 in the namespace."""
    exporter: subprocess.Popen[bytes] | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def host(self) -> Host:
        """The host as declared in the estate."""
        return self.estate.host(HOST)

    @property
    def disk(self) -> Disk:
        """The host's data disk."""
        assert self.host.disk
        return self.host.disk

    def start(self, *argv: str, user: int = 0) -> subprocess.Popen[bytes]:
        """Start a program in the namespaces."""
        account = [f"--setuid={user}", f"--setgid={user}"]
        command = ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", *account, *argv]
        self.started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return self.started[-1]

    def run(self, *argv: str) -> None:
        """Run a program in the namespaces and require exit code 0."""
        assert self.start(*argv).wait(WITHIN_S) == 0, argv

    def mount(self) -> None:
        """Mount the data disk."""
        self.run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "data", self.disk.mount)

    def start_exporter(self) -> None:
        """Start the exporter with the options that the role writes for Debian's unit, without privileges as there."""
        line = node_exporter.defaults_text(self.plan, self.host, self.disk).splitlines()[-1]
        (arguments,) = shlex.split(line.removeprefix("ARGS="))
        self.exporter = self.start(*image_programs.argv("prometheus-node-exporter"), *arguments.split(), user=NOBODY)

    def stop_exporter(self) -> None:
        """Kill the exporter."""
        assert self.exporter
        for process in children(self.exporter.pid) or [self.exporter.pid]:
            os.kill(process, 9)
        self.exporter.wait()

    def start_prometheus(self) -> None:
        """Start Prometheus with all rules as installed. It scrapes only this host's disk, and more often."""
        scrapes = scrape_configs.scrape_jobs(self.estate, self.plan, self.estate.host(MONITORING_HOST))
        (disks,) = (one for one in scrapes if one["job_name"] == "disks")
        own = [static for static in disks["static_configs"] if static["labels"]["host"] == HOST]
        for name, text in prometheus.rule_texts(self.estate, self.estate.host(MONITORING_HOST)).items():
            (self.folder / name).write_text(text, encoding="utf-8")
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{self.folder}/*.yml"],
            "scrape_configs": [{**disks, "static_configs": own}],
        }
        file = self.folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        options = (
            f"--config.file={file}", f"--web.listen-address={WATCHING}", f"--storage.tsdb.path={self.folder}/store",
            "--log.level=error",
        )  # fmt: skip
        self.start(*image_programs.argv("prometheus"), *options)

    def series(self, query: str) -> list[dict[str, str]]:
        """Return the labels and the value of each series that Prometheus finds. Empty while it does not answer."""
        found = self._ask(f"query?query={urllib.parse.quote(query)}")
        return [{**one["metric"], "value": one["value"][1]} for one in found.get("result", [])]

    def alerts(self) -> set[str]:
        """Return the names of this host's alerts, pending or firing."""
        found = self._ask("alerts").get("alerts", [])
        return {one["labels"]["alertname"] for one in found if one["labels"].get("host") == HOST}

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            with (
                network_of(net(self.first)),
                urllib.request.urlopen(f"http://{WATCHING}/api/v1/{path}", timeout=5) as it,
            ):
                return dict(json.load(it)["data"])
        except OSError:
            return {}


def net(process: int) -> Path:
    """Return the network namespace of a process."""
    return Path(f"/proc/{process}/ns/net")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A healthy host."""
    if os.geteuid():
        pytest.skip("needs root: namespaces")
    image_programs.argv("prometheus-node-exporter")
    estate = load()
    line = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", "echo; exec cat"]
    holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin
    assert holder.stdout
    holder.stdout.readline()
    machine = Machine(folder=tmp_path, estate=estate, plan=plan(estate), first=children(holder.pid)[0])
    try:
        machine.run("ip", "link", "set", "lo", "up")
        machine.run("ip", "address", "add", f"{machine.plan.lan(HOST).ipv4}/32", "dev", "lo")
        machine.run("mount", "-t", "tmpfs", "top", str(PurePosixPath(*PurePosixPath(machine.disk.mount).parts[:2])))
        machine.run("mkdir", "-p", machine.disk.mount)
        machine.mount()
        machine.start_exporter()
        machine.start_prometheus()
        until("Prometheus has scraped the exporter", lambda: machine.series('up{job="disks"} == 1'), WITHIN_S)
        yield machine
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
        for process in machine.started:
            process.wait()


def test_the_exporter_reports_only_the_data_disk_and_listens_only_on_the_segment(machine: Machine) -> None:
    """A host has dozens of other mounts. Clients of another address of the host get no metrics."""
    assert len((Path("/proc") / str(machine.first) / "mounts").read_text().splitlines()) > 3
    found = machine.series('{__name__=~"node_filesystem_.*"}')
    assert {(one["mountpoint"], one["host"], one["site"]) for one in found} == {
        (machine.disk.mount, HOST, machine.host.at)
    }
    values = {one["__name__"].removeprefix("node_filesystem_"): int(float(one["value"])) for one in found}
    size = SIZE_MIB * 1024 * 1024
    assert values == {"avail_bytes": size, "size_bytes": size, "readonly": 0, "device_error": 0}
    with network_of(net(machine.first)):
        socket.create_connection((str(machine.plan.lan(HOST).ipv4), node_exporter.PORT), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", node_exporter.PORT), 5).close()


def test_each_problem_raises_its_alert_until_it_is_repaired(machine: Machine) -> None:
    """The promtool tests of the rules check how long a problem must last before its alert fires."""
    alerts = machine.alerts
    assert not alerts()

    full = Path(f"/proc/{machine.first}/root{machine.disk.mount}/full")
    with full.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (SIZE_MIB * 9 // 10) << 20)
    until("the alert for the full disk", lambda: alerts() == {"DiskNearlyFull"}, WITHIN_S)
    full.unlink()
    until("no alert after the file is deleted", lambda: not alerts(), WITHIN_S)

    machine.run("mount", "-o", "remount,ro", machine.disk.mount)
    until("the alert for the read-only disk", lambda: alerts() == {"DiskUnusable"}, WITHIN_S)
    machine.run("mount", "-o", "remount,rw", machine.disk.mount)
    until("no alert after the disk is writable", lambda: not alerts(), WITHIN_S)

    machine.run("umount", machine.disk.mount)
    until("the alert for the missing disk", lambda: alerts() == {"DiskUnusable"}, WITHIN_S)
    machine.mount()
    until("no alert after the disk is mounted", lambda: not alerts(), WITHIN_S)

    machine.stop_exporter()
    until("the alert for missing metrics", lambda: alerts() == {"FiguresMissing"}, WITHIN_S)
    machine.start_exporter()
    until("no alert after the exporter runs", lambda: not alerts(), WITHIN_S)
