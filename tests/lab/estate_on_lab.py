"""Access to the deployed estate for lab tests: the command line, hosts by SSH, and conditions to wait for.

This process observes the running estate itself. A separate `status` process takes two seconds of processor time from
the machine that runs the lab.
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
"""Time limit for one observation of all hosts, the same as in `status`."""


@dataclass(frozen=True)
class Answer:
    """The result of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object that a `--json` command printed."""
        return dict(json.loads(self.stdout))


def govcloud(*argv: str, timeout_s: float = 900, env: dict[str, str] | None = None) -> Answer:
    """Run the `govcloud` script, like an operator, and return its result."""
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
        """Return the standard output of a command on a host."""
        done = subprocess.run(
            self.lab.shell_argv(host, argv), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{host}: {argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def status_of(self, path: str, *, family: int = 4, host: str = "citizen1") -> str:
        """Return the HTTP status of the service at its anycast address, seen from a vantage. 000 means no answer."""
        return self.run(
            host, "curl", "-sk", f"-{family}", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}",
            *resolve(self.lab), f"https://approval.govcloud{path}", check=False,
        )  # fmt: skip


def resolve(lab: Lab) -> list[str]:
    """Return the options that give curl the anycast addresses."""
    from estate.addressing import plan

    address = plan(lab.estate).anycast["approval"]
    return ["--resolve", f"approval.govcloud:443:{address.ipv4},[{address.ipv6}]"]


def is_deployed(lab: Lab) -> bool:
    """Return whether every stack has been deployed to the running lab."""
    ours = store.owner() == instance_id()
    return ours and all(store.resources(stack) for stack in stack_names(lab.estate))


def observed() -> observe.Observation:
    """Return a new observation of the estate. All queries are sent after the call."""
    with network_of(names.NETNS_DIR / names.OPERATOR):
        return observe.snapshot(loader.load(), Access.default(), timeout_s=OBSERVE_S)


def problems() -> list[str]:
    """Return every problem that `status` would report now."""
    return [problem.text() for problem in health.problems(loader.load(), observed())]


def until_well(within_s: float) -> None:
    """Wait until the estate has no problem. Observe it only once a second: a settling estate needs the processors."""
    last: list[str] = []

    def well() -> bool:
        last[:] = problems()
        return not last

    try:
        until("the estate has no problem", well, within_s, every_s=1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {'; '.join(last)}") from None


def primary(field: str = "host") -> str:
    """Return the host (or site) of the primary. Repeat the observation: on a busy machine it may miss the primary."""
    found: list[str] = []

    def seen() -> bool:
        found[:] = [str(getattr(member, field)) for member in observed().primaries]
        return len(found) == 1

    until("one primary is seen", seen, 120)
    return found[0]
