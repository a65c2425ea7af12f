"""The estate and its address plan as machines, segments and links. Nothing here reads or changes the system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from estate.addressing import AddressPlan, Interface
from estate.model import Disk, Estate, Host, HostRole
from lab import names

MANAGEMENT_BRIDGE = "mgmt0"
"""Bridge in the operator's namespace, with the operator's address."""


class PortKind(StrEnum):
    """Kind of network at the outer end of a machine's interface."""

    MANAGEMENT = "management"
    SEGMENT = "segment"
    WIRE = "wire"


@dataclass(frozen=True, kw_only=True)
class Port:
    """One interface of a machine and its outer end: a veth pair.

    The outer end is in another namespace, so that neighbours keep their carrier when the machine vanishes. `mac` is the
    same at every boot, as with a real card, so that the neighbours' caches stay valid.
    """

    kind: PortKind
    inside: str
    outside: str
    outer_netns: str
    mac: str
    bridge: str | None = None
    wire: str | None = None
    end: int = 0


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine with its interfaces.

    `cpus` sets its share of the processors when all machines want them. A `fixture` is at a peer, and the lab
    configures it instead of a stack.
    """

    name: str
    place: str
    kind: HostRole
    netns: str
    ports: tuple[Port, ...]
    management: Interface
    disk: Disk | None
    cpus: float
    fixture: bool


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The local network of a site or peer."""

    place: str
    bridge: str


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A link. `delay_ms` is one-way; `ends` are machines, in the estate's order."""

    name: str
    ends: tuple[str, str]
    delay_ms: float
    bandwidth_mbit: float


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Everything that the lab imitates."""

    machines: tuple[Machine, ...]
    segments: tuple[Segment, ...]
    wires: tuple[Wire, ...]
    operator: Interface

    def machine(self, name: str) -> Machine:
        """Return the machine of this name. Raise KeyError if it does not exist."""
        return {machine.name: machine for machine in self.machines}[name]

    def digest(self) -> str:
        """Return a hash of all properties that a running lab was built from."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def topology(estate: Estate, plan: AddressPlan) -> Topology:
    """Return the lab of an estate."""
    segments = tuple(
        Segment(place=place.name, bridge=f"seg{index}") for index, place in enumerate(estate.places, start=1)
    )
    bridges = {segment.place: segment.bridge for segment in segments}
    own = {host.name for host in estate.managed_hosts}
    return Topology(
        machines=tuple(
            Machine(
                name=host.name,
                place=host.at,
                kind=host.kind,
                netns=names.netns(host.name),
                ports=_ports(estate, plan, host, index, bridges[host.at]),
                management=plan.hosts[host.name].management,
                disk=host.disk,
                cpus=host.cpus,
                fixture=host.name not in own,
            )
            for index, host in enumerate(estate.hosts, start=1)
        ),
        segments=segments,
        wires=tuple(
            Wire(name=link.name, ends=link.ends, delay_ms=link.delay_ms, bandwidth_mbit=link.bandwidth_mbit)
            for link in estate.links
        ),
        operator=plan.operator,
    )


def _ports(estate: Estate, plan: AddressPlan, host: Host, index: int, bridge: str) -> tuple[Port, ...]:
    addresses = plan.hosts[host.name]
    ports = [
        Port(
            kind=PortKind.MANAGEMENT,
            inside=addresses.management.name,
            outside=f"m{index}",
            outer_netns=names.OPERATOR,
            mac=_mac(index, 0),
            bridge=MANAGEMENT_BRIDGE,
        ),
        Port(
            kind=PortKind.SEGMENT,
            inside=addresses.lan.name,
            outside=f"l{index}",
            outer_netns=names.WIRES,
            mac=_mac(index, 1),
            bridge=bridge,
        ),
    ]
    for place, link in enumerate(estate.links_of(host.name), start=2):
        end = link.ends.index(host.name)
        ports.append(
            Port(
                kind=PortKind.WIRE,
                inside=addresses.link(link.name).name,
                outside=f"w{link.number}{'ab'[end]}",
                outer_netns=names.WIRES,
                mac=_mac(index, place),
                wire=link.name,
                end=end,
            )
        )
    return tuple(ports)


def _mac(host: int, port: int) -> str:
    """Return a locally administered address that is the same at every boot."""
    return f"02:67:63:{host >> 8:02x}:{host & 255:02x}:{port:02x}"
