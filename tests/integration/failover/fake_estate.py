"""A fake estate around a real HTTPS server and a real load generator. A drill runs all its steps on loopback.

Power is a flag, and the observation follows it with a delay. The loss of the primary's site makes the fake service
refuse writes for a while. Commands for the vantage run on this machine, with its folder below a temporary one.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from estate.model import Estate
from failover import drills
from failover.drills import DrillOptions, DrillResult
from failover.drills.fault import Fault
from failover.journal import Undo, journals
from failover.protocols import Clock, DrillInterfaces, SystemClock
from failover.result import Event
from failover.vantage import ROOT, Endpoint
from monitors.collectors import Observation
from monitors.collectors.postgres import Role
from tests.integration.failover.conftest import NAME, RunningFakeService
from tests.unit.failover.observations import HEALTHY, powered_off, with_link, with_member, with_primary

TAKEOVER_S, START_S, REROUTE_S, RESTART_S = 2.0, 2.0, 0.6, 4.0


def open_acts(home: Path) -> list[Undo]:
    """Return the open undos of all runs."""
    return [undo for journal in journals(home / "drills") for undo in journal.open_undos()]


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The result of a command."""

    returncode: int = 0
    stdout: bytes = b""
    stderr: bytes = b""


@dataclass(kw_only=True)
class FakeEstate:
    """All interfaces of a drill in one object. `on_off` and `on_cut` are called when the fault is injected."""

    estate: Estate
    fake_service: RunningFakeService
    folder: Path
    python: str
    primary_site: str = "futian"
    off_since: dict[str, float] = field(default_factory=dict)
    on_since: dict[str, float] = field(default_factory=dict)
    cut_links: set[str] = field(default_factory=set)
    crashed: dict[str, float] = field(default_factory=dict)
    """When PostgreSQL of a site was killed. It runs again after `RESTART_S`."""
    units: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    watched: int = 0
    silent: int = 0
    """Number of queries for the database's rows that get no answer."""
    spoil: Callable[[str], str] = str
    on_off: Callable[[], None] = lambda: None
    on_cut: Callable[[], None] = lambda: None

    # Power

    def off(self, target: str) -> None:
        self.off_since[target] = time.monotonic()
        if target == self.primary_site:
            self.set_faults({"from_s": 0, "to_s": TAKEOVER_S, "do": "refuse"})
        self.on_off()

    def on(self, target: str) -> None:
        self.off_since.pop(target, None)
        self.on_since[target] = time.monotonic()

    def is_on(self, target: str) -> bool:
        return target not in self.off_since

    # Links

    def cut(self, link: str) -> None:
        self.cut_links.add(link)
        self.set_faults({"from_s": 0, "to_s": REROUTE_S, "do": "refuse"})
        self.on_cut()

    def heal(self, link: str) -> None:
        self.cut_links.discard(link)

    def is_cut(self, link: str) -> bool:
        return link in self.cut_links

    # Observer

    @contextmanager
    def watch(self) -> Iterator[FakeEstate]:
        self.watched += 1
        try:
            yield self
        finally:
            self.watched -= 1

    def latest(self) -> Observation:
        assert self.watched, "observed without a watch"
        return self.snapshot()

    def snapshot(self) -> Observation:
        self._take_over()
        seen = with_primary(HEALTHY, self.primary_site)
        for site in self.estate.sites:
            seen = seen if self._up(site.name) else powered_off(seen, site.name)
        for site in filter(self._down, self.crashed):
            seen = with_member(seen, site, role=Role.UNKNOWN, running=False, sync=False, reason="not running")
        for link in self.cut_links:
            seen = with_link(seen, link, established=False, bfd_up=None, state="Connect")
        return replace(seen, at=time.time())

    def _take_over(self) -> None:
        since = self.off_since.get(self.primary_site, self.crashed.get(self.primary_site))
        if since is not None and time.monotonic() - since > TAKEOVER_S:
            others = (s for s in self.estate.database.promotable if s != self.primary_site)
            self.primary_site = next(s for s in others if s not in self.off_since)

    def _down(self, site: str) -> bool:
        return time.monotonic() - self.crashed[site] < RESTART_S

    def _up(self, site: str) -> bool:
        return site not in self.off_since and time.monotonic() - self.on_since.get(site, 0.0) > START_S

    # Machines

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> CommandResult:
        if "psql" in argv and self.silent:
            self.silent -= 1
            return CommandResult(returncode=2, stderr=b"the database system is starting up")
        if "psql" in argv:
            return CommandResult(stdout=self.spoil(self.rows()).encode())
        if argv[0] == "timeout" or argv[0].endswith("pg_isready"):
            return self._run_at(self.estate.host(host).at, " ".join(argv))
        words = [word.replace(ROOT, str(self.folder)) for word in argv]
        if words[0] == "systemd-run":
            return self._start_unit(words)
        if words[0] == "systemctl":
            return self._unit(words)
        if words[0] == "journalctl":
            return CommandResult()
        done = subprocess.run(words, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        return CommandResult(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def _run_at(self, site: str, command: str) -> CommandResult:
        """Kill PostgreSQL of a site, ask whether it is ready, or probe the site's pods from its node."""
        if "kill -KILL" in command:
            return self._crash(site)
        if "pg_isready" in command:
            return CommandResult(returncode=2 if site in self.crashed and self._down(site) else 0)
        return CommandResult(returncode=0 if self._up(site) else 124)

    def _crash(self, site: str) -> CommandResult:
        if site != self.primary_site:
            return CommandResult(returncode=1, stderr=b"it is not the primary any more")
        self.crashed[site] = time.monotonic()
        self.set_faults({"from_s": 0, "to_s": TAKEOVER_S, "do": "refuse"})
        return CommandResult()

    def _start_unit(self, words: list[str]) -> CommandResult:
        settings = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
        command = ["nice", "-n", settings["nice"], self.python, *words[words.index("--") + 2 :]]
        log = (self.folder / "unit.log").open("ab")
        process = subprocess.Popen(command, cwd=settings["working-directory"], stderr=log)
        log.close()
        self.units[settings["unit"]] = process
        return CommandResult()

    def _unit(self, words: list[str]) -> CommandResult:
        process = self.units.get(words[-1])
        running = process is not None and process.poll() is None
        if words[1] == "is-active":
            return CommandResult(returncode=0 if running else 3)
        if process is not None:
            process.terminate() if words[1] == "stop" else process.kill()
            process.wait(120)
        return CommandResult()

    def close(self) -> None:
        """End all units that still run."""
        for process in self.units.values():
            process.kill()
            process.wait(10)

    # The drill

    def drill(
        self,
        name: str,
        home: Path,
        *,
        clock: Clock | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
        **options: Any,
    ) -> DrillResult:
        """Run a drill on this estate. The fault stays for 6 s. `options` as for DrillOptions."""
        on = DrillInterfaces(machines=self, power=self, links=self, observer=self, clock=clock or SystemClock())
        chosen = DrillOptions(**{"endpoint": self.endpoint(), "hold_s": 6.0, **options})
        return drills.run(name, self.estate, on, home, chosen, on_event=on_event)

    def fault(self, name: str, target: str) -> Fault:
        """Return the fault of a drill on this estate."""
        return drills.get(name).fault(self.estate, target)

    # The service

    def endpoint(self) -> Endpoint:
        return Endpoint(
            name=NAME,
            port=self.fake_service.port,
            ipv4="127.0.0.1",
            ipv6="::1",
            ca=self.fake_service.authority.ca.read_bytes(),
        )

    def set_faults(self, *faults: dict[str, object]) -> None:
        self._call("/faults", "PUT", json.dumps(faults).encode())

    def rows(self) -> str:
        return self._call("/rows.csv", "GET", None).decode()

    def _call(self, path: str, method: str, data: bytes | None) -> bytes:
        tls = ssl.create_default_context(cafile=str(self.fake_service.authority.ca))
        tls.check_hostname = False
        request = urllib.request.Request(f"https://127.0.0.1:{self.fake_service.port}{path}", data=data, method=method)
        with urllib.request.urlopen(request, context=tls, timeout=10) as answer:
            return bytes(answer.read())
