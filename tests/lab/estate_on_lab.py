"""The deployed estate as the lab tests see it: the command line, hosts by SSH, and conditions that are waited for.

The running estate is observed in this process, because a `status` in a process of its own takes two seconds of
processor from the machine that carries the lab.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from estate import loader
from lab import names
from lab.api import Lab, instance_id
from lab.command import network_of
from monitors import health, observe
from stacks.phases import stack_names
from stacks.state import store
from tests.polling import until
from workstation import paths
from workstation.ssh import Access

OBSERVE_S = 8
"""Time for one observation of all hosts, as `status` allows itself."""


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


def is_deployed(lab: Lab) -> bool:
    """Whether every stack has been deployed to the lab that is up."""
    ours = store.owner() == instance_id()
    return ours and all(store.resources(stack) for stack in stack_names(lab.estate))


def observed() -> observe.Observation:
    """A new observation of the estate, made after the call."""
    with network_of(names.NETNS_DIR / names.OPERATOR):
        return observe.snapshot(loader.load(), Access.default(), timeout_s=OBSERVE_S)


def problems() -> list[str]:
    """Every problem that `status` would report now."""
    return [problem.text() for problem in health.problems(loader.load(), observed())]


def until_well(within_s: float) -> None:
    """Wait until the estate has no problem. Observe it seldom: an estate that is settling needs the machine."""
    last: list[str] = []

    def well() -> bool:
        last[:] = problems()
        return not last

    try:
        until("the estate has no problem", well, within_s, every_s=1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {'; '.join(last)}") from None


def primary(field: str = "host") -> str:
    """Host (or site) of the primary. On a busy machine one observation may miss it, so it is repeated."""
    found: list[str] = []

    def seen() -> bool:
        found[:] = [str(getattr(member, field)) for member in observed().primaries]
        return len(found) == 1

    until("one primary is seen", seen, 120)
    return found[0]
