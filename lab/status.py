"""The present state of the lab, read from the kernel and the link emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab import cgroups, lab_state, network, processes
from lab.command import LabError
from lab.topology import Topology, Wire
from lab.wires_client import DirectionState, Wires


@dataclass(frozen=True, kw_only=True)
class MachineStatus:
    """A machine. `memory_mib` is its anonymous memory, None if the host does not account it."""

    name: str
    place: str
    address: str
    power: bool
    memory_mib: int | None


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """A link. Each pair has the value of the direction from the first end, then that of the direction back.

    `cut` marks directions that drop all packets. `dark` names ends whose machine has no power.
    """

    name: str
    ends: tuple[str, str]
    delay_ms: tuple[float, float]
    loss: tuple[float, float]
    bandwidth_mbit: tuple[float, float]
    cut: tuple[bool, bool]
    dark: tuple[str, ...]
    frames: tuple[int, int]
    dropped: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LabStatus:
    """The whole lab. `instance` is None if no lab is up.

    `used_mib` is the drop of available memory since before `up`; page cache counts as available.
    """

    instance: str | None
    checkout: str | None
    since: str | None
    complete: bool
    machines: tuple[MachineStatus, ...]
    links: tuple[LinkStatus, ...]
    available_mib: int
    used_mib: int | None
    problems: tuple[str, ...] = ()

    @property
    def powered(self) -> tuple[str, ...]:
        """Names of the machines that have power."""
        return tuple(machine.name for machine in self.machines if machine.power)

    def as_json(self) -> dict[str, Any]:
        """Return the status as plain values."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the status as text for the operator."""
        if self.instance is None:
            return "no lab is up" + (f"; {'; '.join(self.problems)}" if self.problems else "")
        complete = "" if self.complete else " (not complete)"
        lines = [f"lab {self.instance} of {self.checkout}, since {self.since}{complete}"]
        for machine in self.machines:
            memory = "" if machine.memory_mib is None else f"{machine.memory_mib:6d} MiB"
            lines.append(f"  {machine.name:16} {'on ' if machine.power else 'OFF'}  {machine.address:15} {memory}")
        for link in self.links:
            lines.append(f"  {link.name:16} {_condition(link)}")
        used = "" if self.used_mib is None else f", {self.used_mib} MiB used by the lab"
        return "\n".join([*lines, f"memory: {self.available_mib} MiB available{used}", *self.problems])


def _condition(link: LinkStatus) -> str:
    a, b = link.ends
    state = {(False, False): "carries", (True, True): "CUT", (True, False): f"CUT from {a} to {b}"}.get(
        link.cut, f"CUT from {b} to {a}"
    )
    if link.dark:
        state += f", no power at {' and '.join(link.dark)}"
    loss = f", {max(link.loss):.1%} lost" if any(link.loss) else ""
    return f"{a} - {b}: {state}, {link.delay_ms[0]:g} ms, {link.bandwidth_mbit[0]:g} Mbit/s{loss}"


def read(topology: Topology, wires: Wires) -> LabStatus:
    """Return the present state of the lab. A missing part is reported in it and raises no error."""
    state = lab_state.read()
    running = processes.running_machines()
    available = available_mib()
    problems: list[str] = []
    states: Mapping[str, tuple[DirectionState, DirectionState]] = {}
    if state:
        try:
            states = wires.state()
        except LabError as error:
            problems.append(error.message)
    elif running:
        problems.append("machines run without a record of their lab: `lab down` removes them")
    layout = cgroups.detect()
    return LabStatus(
        instance=state.instance if state else None,
        checkout=state.checkout if state else None,
        since=state.since if state else None,
        complete=bool(state and state.complete),
        machines=tuple(
            MachineStatus(
                name=machine.name,
                place=machine.place,
                address=str(machine.management.ipv4.ip),
                power=machine.name in running and network.exists(machine.netns),
                memory_mib=_mib(cgroups.memory_bytes(layout, machine.name)) if machine.name in running else None,
            )
            for machine in topology.machines
        ),
        links=tuple(_link(wire, states[wire.name], set(running)) for wire in topology.wires if wire.name in states),
        available_mib=available,
        used_mib=state.available_before_mib - available if state and state.available_before_mib else None,
        problems=tuple(problems),
    )


def _link(wire: Wire, state: tuple[DirectionState, DirectionState], running: set[str]) -> LinkStatus:
    there, back = state
    return LinkStatus(
        name=wire.name,
        ends=wire.ends,
        delay_ms=(there.settings.delay_ms, back.settings.delay_ms),
        loss=(there.settings.loss, back.settings.loss),
        bandwidth_mbit=(there.settings.bandwidth_mbit, back.settings.bandwidth_mbit),
        cut=(there.settings.cut, back.settings.cut),
        dark=tuple(end for end in wire.ends if end not in running),
        frames=(there.frames, back.frames),
        dropped=(there.dropped, back.dropped),
    )


def _mib(count: int | None) -> int | None:
    return None if count is None else count >> 20


def available_mib() -> int:
    """Return the host's available memory in MiB. Page cache counts as available."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return 0
