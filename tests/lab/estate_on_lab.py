"""The deployed estate as the lab tests see it: the command line, hosts by SSH, and conditions that are waited for."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from lab.api import Lab
from tests.polling import until
from workstation import paths


@dataclass(frozen=True)
class Answer:
    """How a command ended. `report` is its JSON object."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The one object of a `--json` command."""
        return dict(json.loads(self.stdout))


def govcloud(*argv: str, timeout_s: float = 900, env: dict[str, str] | None = None) -> Answer:
    """The entry itself, as an operator calls it."""
    done = subprocess.run(
        [str(paths.repo() / "govcloud"), *argv],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Hosts:
    """Commands on the lab's machines."""

    lab: Lab

    def run(self, host: str, *argv: str, check: bool = True, timeout_s: float = 60) -> str:
        """Standard output of a command on a host."""
        done = subprocess.run(
            self.lab.shell_argv(host, argv), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{host}: {argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def status_of(self, path: str, *, family: int = 4, host: str = "citizen1") -> str:
        """HTTP status of the service at its anycast address, asked from a vantage; 000 without an answer."""
        return self.run(
            host, "curl", "-sk", f"-{family}", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}",
            *resolve(self.lab), f"https://approval.govcloud{path}", check=False,
        )  # fmt: skip


def resolve(lab: Lab) -> list[str]:
    """curl's options that name the anycast addresses."""
    from estate.addressing import plan

    address = plan(lab.estate).anycast["approval"]
    return ["--resolve", f"approval.govcloud:443:{address.ipv4},[{address.ipv6}]"]


def status() -> dict[str, Any]:
    """`status --json`, whatever it finds."""
    return govcloud("status", "--json", timeout_s=60).report


def healthy() -> bool:
    """Whether `status` finds nothing wrong."""
    return govcloud("status", "--json", timeout_s=60).code == 0


def until_well(within_s: float) -> None:
    """Wait until `status` finds nothing wrong; it is asked seldom, for what is settling needs the machine."""
    until("`status` finds nothing wrong", healthy, within_s, every_s=1)


def primary(field: str = "host") -> str:
    """Host (or site) of the primary, as soon as a look sees one: on a busy machine a single look may miss it."""
    found: list[str] = []

    def seen() -> bool:
        found[:] = [str(member[field]) for member in status().get("members", ()) if member["role"] == "primary"]
        return len(found) == 1

    until("one primary is seen", seen, 120)
    return found[0]
