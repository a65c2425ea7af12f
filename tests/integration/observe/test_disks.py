"""A data disk that fills, turns read-only or goes away, as a real Prometheus with the real rules hears of it from the
real exporter with its rendered options.

All three are in namespaces of the test's own: the disk is memory that nobody else sees, the addresses lead nowhere.
Process 1 there holds them open; with it everything ends.
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
    """A host with a data disk, its exporter, and a monitoring host beside it."""

    folder: Path
    estate: Estate
    plan: AddressPlan
    first: int
    """The process that is number 1 inside."""
    exporter: subprocess.Popen[bytes] | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def host(self) -> Host:
        """As declared."""
        return self.estate.host(HOST)

    @property
    def disk(self) -> Disk:
        """Its data disk."""
        assert self.host.disk
        return self.host.disk

    def start(self, *argv: str, user: int = 0) -> subprocess.Popen[bytes]:
        """A program inside."""
        whose = [f"--setuid={user}", f"--setgid={user}"]
        inside = ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", *whose, *argv]
        self.started.append(subprocess.Popen(inside, stdout=subprocess.DEVNULL))
        return self.started[-1]

    def run(self, *argv: str) -> None:
        """A program inside that ends well."""
        assert self.start(*argv).wait(WITHIN_S) == 0, argv

    def mount(self) -> None:
        """The disk."""
        self.run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "data", self.disk.mount)

    def start_exporter(self) -> None:
        """With the options that the role writes for Debian's unit, and as little right as there."""
        line = node_exporter.defaults_text(self.plan, self.host, self.disk).splitlines()[-1]
        (arguments,) = shlex.split(line.removeprefix("ARGS="))
        self.exporter = self.start(*image_programs.argv("prometheus-node-exporter"), *arguments.split(), user=NOBODY)

    def stop_exporter(self) -> None:
        """As when it is killed."""
        assert self.exporter
        for process in children(self.exporter.pid) or [self.exporter.pid]:
            os.kill(process, 9)
        self.exporter.wait()

    def start_prometheus(self) -> None:
        """With all rules as installed. Of what it scrapes, the disks; of these, this host's; and more often."""
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

    def figures(self, query: str) -> list[dict[str, str]]:
        """Labels of the series that Prometheus finds, each with its value; none while it does not answer."""
        found = self._ask(f"query?query={urllib.parse.quote(query)}")
        return [{**one["metric"], "value": one["value"][1]} for one in found.get("result", [])]

    def alerts(self) -> set[str]:
        """What the rules say of this host's disk, pending or firing."""
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
    """Its network namespace."""
    return Path(f"/proc/{process}/ns/net")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """The host, all well."""
    if os.geteuid():
        pytest.skip("needs root: namespaces")
    image_programs.argv("prometheus-node-exporter")
    estate = load()
    line = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", "echo; exec cat"]
    holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin
    assert holder.stdout
    holder.stdout.readline()
    made = Machine(folder=tmp_path, estate=estate, plan=plan(estate), first=children(holder.pid)[0])
    try:
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "address", "add", f"{made.plan.lan(HOST).ipv4}/32", "dev", "lo")
        made.run("mount", "-t", "tmpfs", "top", str(PurePosixPath(*PurePosixPath(made.disk.mount).parts[:2])))
        made.run("mkdir", "-p", made.disk.mount)
        made.mount()
        made.start_exporter()
        made.start_prometheus()
        until("Prometheus has asked the exporter", lambda: made.figures('up{job="disks"} == 1'), WITHIN_S)
        yield made
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
        for process in made.started:
            process.wait()


def test_the_exporter_tells_of_the_data_disk_only_and_the_segment_only(machine: Machine) -> None:
    """A machine has dozens of other mounts; and whoever may reach another address of the host gets no figures."""
    assert len((Path("/proc") / str(machine.first) / "mounts").read_text().splitlines()) > 3
    told = machine.figures('{__name__=~"node_filesystem_.*"}')
    assert {(one["mountpoint"], one["host"], one["site"]) for one in told} == {
        (machine.disk.mount, HOST, machine.host.at)
    }
    values = {one["__name__"].removeprefix("node_filesystem_"): int(float(one["value"])) for one in told}
    room = SIZE_MIB * 1024 * 1024
    assert values == {"avail_bytes": room, "size_bytes": room, "readonly": 0, "device_error": 0}
    with network_of(net(machine.first)):
        socket.create_connection((str(machine.plan.lan(HOST).ipv4), node_exporter.PORT), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", node_exporter.PORT), 5).close()


def test_each_trouble_is_told_and_is_over_when_it_is_mended(machine: Machine) -> None:
    """How long each must last before a person is told, the rules' own tests hold."""
    seen = machine.alerts
    assert not seen()

    full = Path(f"/proc/{machine.first}/root{machine.disk.mount}/full")
    with full.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (SIZE_MIB * 9 // 10) << 20)
    until("that the disk fills is told", lambda: seen() == {"DiskNearlyFull"}, WITHIN_S)
    full.unlink()
    until("there is room again", lambda: not seen(), WITHIN_S)

    machine.run("mount", "-o", "remount,ro", machine.disk.mount)
    until("that it is read-only is told", lambda: seen() == {"DiskUnusable"}, WITHIN_S)
    machine.run("mount", "-o", "remount,rw", machine.disk.mount)
    until("it can be written again", lambda: not seen(), WITHIN_S)

    machine.run("umount", machine.disk.mount)
    until("that it is not there is told", lambda: seen() == {"DiskUnusable"}, WITHIN_S)
    machine.mount()
    until("it is there again", lambda: not seen(), WITHIN_S)

    machine.stop_exporter()
    until("that nothing is told is told", lambda: seen() == {"FiguresMissing"}, WITHIN_S)
    machine.start_exporter()
    until("all is well", lambda: not seen(), WITHIN_S)
