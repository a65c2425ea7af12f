"""What failover needs from a lab or from real sites. Other packages implement these; nothing here names a tool.

The list is short on purpose: a program that can run a command on a host, switch power and links and observe the estate
can run every drill. An implementation raises `workstation.errors.GovcloudError` if it cannot do its task.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from monitors.collectors import Observation


class Power(Protocol):
    """Electric power of a site or of one host, by its name in the estate.

    A host that loses power sends nothing: no FIN, no RST, no link down.
    """

    def off(self, target: str) -> None:
        """Power off; return when no host has power. Already off is no error."""

    def on(self, target: str) -> None:
        """Power on; return when the power is on, not when the machines have started. Already on is no error."""

    def is_on(self, target: str) -> bool:
        """Return whether every host of the target has power."""


class Links(Protocol):
    """The links of the estate, by name.

    A link that is cut drops all packets in both directions and keeps its carrier.
    """

    def cut(self, link: str) -> None:
        """Cut the link. A link that is already cut is no error."""

    def heal(self, link: str) -> None:
        """Let the link carry packets again. A link that is not cut is no error."""

    def is_cut(self, link: str) -> bool:
        """Return whether the link drops packets in at least one direction."""


class CommandResult(Protocol):
    """The result of a command on a host; `workstation.ssh.Result` is one."""

    @property
    def returncode(self) -> int:
        """The exit code."""

    @property
    def stdout(self) -> bytes:
        """Its standard output."""

    @property
    def stderr(self) -> bytes:
        """Its standard error."""


class Machines(Protocol):
    """Commands on hosts, as root. Files are copied through a command's standard input and output."""

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> CommandResult:
        """Run `argv` on the host. Raise GovcloudError if the host cannot be reached within `timeout_s` seconds. An exit
        code other than 0 is a result, not an error."""


class Clock(Protocol):
    """Time, in seconds."""

    def monotonic(self) -> float:
        """For durations."""

    def wall(self) -> float:
        """Seconds since 1970, to compare with other hosts' records."""

    def wait(self, seconds: float) -> None:
        """Wait between two checks of a condition."""


class SystemClock:
    """The clock of the operator's machine."""

    def monotonic(self) -> float:
        """For durations."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class Watch(Protocol):
    """A continuous observation, to notice changes and their times. Not for decisions about data: those need an
    observation that began after the question, `Observer.snapshot`."""

    def latest(self) -> Observation:
        """Return the latest observation at once; no part of it is older than a few seconds. Never raises because a host
        does not answer."""


class Observer(Protocol):
    """The only way in which failover observes the estate; `monitors.observe.EstateObserver` is one."""

    def snapshot(self) -> Observation:
        """Observe every host once and in parallel, within a few seconds even when sites are powered off. Never raises
        because a host does not answer."""

    def watch(self) -> AbstractContextManager[Watch]:
        """Return a context manager that observes continuously. When it ends, no thread or process is left."""


@dataclass(frozen=True, kw_only=True)
class DrillInterfaces:
    """Everything that a drill and its undo do to the estate goes through these."""

    machines: Machines
    power: Power
    links: Links
    observer: Observer
    clock: Clock = field(default_factory=SystemClock)
