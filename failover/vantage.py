"""Copies the load generator to its vantage, starts and stops it there, and fetches its ledger.

It runs as a transient systemd unit, so that a measurement depends neither on the operator's connection nor on the
management network. Each run has a folder of its own.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estate.model import Estate, Service
from failover.measured_service import client_files, measured_service
from failover.protocols import Clock, CommandResult, Machines
from workstation import paths
from workstation.errors import GovcloudError

ROOT = "/var/lib/govcloud/drills"
LOAD_GENERATOR = Path("failover/load_generator")
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The service as citizens reach it. `ca` is the estate's CA certificate, PEM."""

    name: str
    port: int
    ipv4: str
    ipv6: str
    ca: bytes


@dataclass(frozen=True, kw_only=True)
class LoadProfile:
    """The load: writes at a rate, and with `reads` as many reads. Times in seconds."""

    rate_per_s: float
    reads: bool = True
    limit_s: float = 1800.0
    drain_s: float = 100.0


class LoadGeneratorFailed(GovcloudError):
    """The load generator did not start or ended too early, so there is no measurement."""


def source_files(service: Service) -> dict[str, bytes]:
    """Return the files of the load generator and of the service's synthetic client, by their path in its folder."""
    found = sorted((paths.repo() / LOAD_GENERATOR).glob("*.py"))
    return {f"load_generator/{file.name}": file.read_bytes() for file in found} | client_files(service)


def tar_archive(files: dict[str, bytes]) -> bytes:
    """Return the files as one tar archive. The same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def arguments(*, estate: Estate, endpoint: Endpoint, load: LoadProfile, seed: int) -> list[str]:
    """Return the load generator's options. Paths are relative to its folder. Each run begins with another person."""
    registers = estate.registers
    values = {
        "ledger": "ledger.jsonl", "sentinel": "stop", "ca": "ca.crt", "name": endpoint.name, "port": endpoint.port,
        "address4": endpoint.ipv4, "address6": endpoint.ipv6, "seed": seed, "people-seed": registers.seed,
        "people": registers.people, "first": seed % registers.people, "rate": f"{load.rate_per_s:g}",
        "limit": f"{load.limit_s:g}", "drain": f"{load.drain_s:g}",
        "retry-rate": f"{load.rate_per_s:g}",
    }  # fmt: skip
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return words if load.reads else [*words, "--no-reads"]


class RemoteLoadGenerator:
    """One run of the load generator on one vantage."""

    def __init__(self, machines: Machines, clock: Clock, *, host: str, run_id: str) -> None:
        self._machines, self._clock = machines, clock
        self.host, self.run_id = host, run_id
        self.folder = f"{ROOT}/{run_id}"
        self.unit = f"govcloud-applicant-{run_id}.service"

    def start(self, *, estate: Estate, endpoint: Endpoint, load: LoadProfile, seed: int) -> None:
        """Copy and start the load generator. Returns when its ledger has its first line."""
        self._must(["mkdir", "-p", self.folder])
        files = {**source_files(measured_service(estate)[0]), "ca.crt": endpoint.ca}
        self._must(["tar", "-x", "-f", "-", "-C", self.folder, "--no-same-owner"], stdin=tar_archive(files))
        self._must([
            "systemd-run", f"--unit={self.unit}", "--collect", "--quiet", f"--working-directory={self.folder}",
            "--nice=-15", "--", "/usr/bin/python3", "-m", "load_generator",
            *arguments(estate=estate, endpoint=endpoint, load=load, seed=seed),
        ])  # fmt: skip
        end = self._clock.monotonic() + 15
        while self._do(["test", "-s", f"{self.folder}/ledger.jsonl"]).returncode != 0:
            if self._clock.monotonic() > end or not self.running():
                raise LoadGeneratorFailed(f"the load generator did not start on {self.host}", self._why())
            self._clock.wait(POLL_S)

    def header(self) -> dict[str, Any]:
        """Return the ledger's first line."""
        value = json.loads(self._must(["head", "-n", "1", f"{self.folder}/ledger.jsonl"]).stdout)
        return dict(value)

    def end(self) -> None:
        """Stop the unit without waiting for open requests. A missing unit is no error."""
        self._do(["systemctl", "stop", self.unit])

    def running(self) -> bool:
        """Return True while the unit is active."""
        return self._do(["systemctl", "is-active", "--quiet", self.unit]).returncode == 0

    def tail(self, lines: int) -> str:
        """Return the last lines of the ledger so far. The very last one may be truncated."""
        return self._must(["tail", "-n", str(lines), f"{self.folder}/ledger.jsonl"]).stdout.decode(errors="replace")

    def stop(self, *, within_s: float) -> bool:
        """Stop the load generator and wait for its open requests.

        Return False if it did not end within `within_s` seconds and was killed.
        """
        self._must(["touch", f"{self.folder}/stop"])
        end = self._clock.monotonic() + within_s
        while self.running():
            if self._clock.monotonic() > end:
                self._do(["systemctl", "kill", "--signal=SIGKILL", self.unit])
                return False
            self._clock.wait(POLL_S)
        return True

    def ledger(self) -> str:
        """Return the whole ledger. A visible character replaces bytes that are not UTF-8, so that damage shows."""
        result = self._must(["cat", f"{self.folder}/ledger.jsonl"], timeout_s=120)
        return result.stdout.decode("utf-8", errors="replace")

    def remove(self) -> None:
        """Delete the run's folder on the vantage."""
        self._do(["rm", "-rf", self.folder])

    def _why(self) -> str:
        log = self._do(["journalctl", "--no-pager", "-n", "5", "-o", "cat", "-u", self.unit])
        return log.stdout.decode(errors="replace").strip()

    def _do(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> CommandResult:
        return self._machines.run(self.host, argv, stdin=stdin, timeout_s=timeout_s)

    def _must(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> CommandResult:
        result = self._do(argv, stdin=stdin, timeout_s=timeout_s)
        if result.returncode != 0:
            reason = result.stderr.decode(errors="replace").strip()
            raise LoadGeneratorFailed(f"{self.host}: {argv[0]} ended with {result.returncode}: {reason}")
        return result
