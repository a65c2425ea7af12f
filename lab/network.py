"""Namespaces, bridges and veth pairs. All are in the lab's own namespaces, so the host's interfaces are untouched."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from lab import names
from lab.command import LabError, network_of, run
from lab.topology import MANAGEMENT_BRIDGE, Machine, Port, PortKind, Topology

SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17


def exists(netns: str) -> bool:
    """Return whether the namespace exists."""
    return (names.NETNS_DIR / netns).exists()


def build_core(topology: Topology) -> None:
    """Create the namespaces of the operator and of the links, with their bridges.

    The operator's namespace has no default route.
    """
    add_netns([names.OPERATOR, names.WIRES])
    _configure(names.WIRES, ipv6=False)
    _configure(names.OPERATOR, ipv6=True)
    bridges = [f"link add {segment.bridge} type bridge forward_delay 0" for segment in topology.segments]
    _batch(names.WIRES, ["link set lo up", *bridges, *(f"link set {s.bridge} up" for s in topology.segments)])
    operator = topology.operator
    _batch(
        names.OPERATOR,
        [
            "link set lo up",
            f"link add {MANAGEMENT_BRIDGE} type bridge forward_delay 0",
            f"link set {MANAGEMENT_BRIDGE} address 02:67:63:ff:ff:00 up",
            f"address add {operator.ipv4} dev {MANAGEMENT_BRIDGE}",
            f"address add {operator.ipv6} dev {MANAGEMENT_BRIDGE} nodad",
        ],
    )


def plug_in(machines: Iterable[Machine]) -> None:
    """Create the machines' namespaces and interfaces and set them up. Only the management address is configured."""
    machines = list(machines)
    add_netns([machine.netns for machine in machines])
    for machine in machines:
        _configure(machine.netns, ipv6=True)
    _batch(None, [_veth(machine, port) for machine in machines for port in machine.ports])
    for netns in (names.OPERATOR, names.WIRES):
        ports = [port for machine in machines for port in machine.ports if port.outer_netns == netns]
        _batch(netns, [f"link set {p.outside}{f' master {p.bridge}' if p.bridge else ''} up" for p in ports])
    for machine in machines:
        _set_up(machine)


def _veth(machine: Machine, port: Port) -> str:
    peer = f"peer name {port.outside} netns {port.outer_netns}"
    return f"link add {port.inside} address {port.mac} netns {machine.netns} type veth {peer}"


def _set_up(machine: Machine) -> None:
    management = machine.management
    _batch(
        machine.netns,
        [
            "link set lo up",
            f"address add {management.ipv4} dev {management.name}",
            f"address add {management.ipv6} dev {management.name} nodad",
            *(f"link set {port.inside} up" for port in machine.ports),
        ],
    )
    wires = [port.inside for port in machine.ports if port.kind is PortKind.WIRE]
    if wires:
        with network_of(names.NETNS_DIR / machine.netns):
            for name in wires:
                _complete_frames_in_kernel(name)


def _complete_frames_in_kernel(name: str) -> None:
    """Let the sender's kernel complete checksums and segments.

    Otherwise they are left to a card, and the frames on a link would not be those that a cable carries.
    """
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP", name.encode(), ctypes.addressof(value)))


def drop_traffic(machines: Iterable[Machine]) -> None:
    """Drop all packets between the machines and their bridges at once. Every interface keeps its carrier.

    A bridge port in the state "disabled" drops packets in both directions. The link emulator stops the links.
    """
    for netns in (names.WIRES, names.OPERATOR):
        ports = [p.outside for m in machines for p in m.ports if p.bridge and p.outer_netns == netns]
        if ports:
            lines = "".join(f"link set dev {port} state 0\n" for port in ports)
            run(["bridge", "-n", netns, "-force", "-batch", "-"], stdin=lines, check=False)


def unplug(machines: Iterable[Machine]) -> None:
    """Remove the machines' namespaces with all remains of dead processes in the kernel: sockets, routes, rules.

    Otherwise the kernel would still answer for a dead machine and repeat its last segments.
    """
    machines = list(machines)
    for netns in (names.WIRES, names.OPERATOR):
        ports = [p.outside for m in machines for p in m.ports if p.outer_netns == netns]
        if exists(netns):
            _batch(netns, [f"link delete {port}" for port in ports], check=False)
    remove_netns([machine.netns for machine in machines])


def add_netns(wanted: Iterable[str]) -> None:
    """Create these namespaces."""
    _batch(None, [f"netns add {name}" for name in wanted])


def remove_netns(unwanted: Iterable[str]) -> None:
    """Remove these namespaces. A missing one is no error."""
    lines = [f"netns delete {name}" for name in unwanted if exists(name)]
    _batch(None, lines, check=False)


def _configure(netns: str, *, ipv6: bool) -> None:
    """Turn off forwarding, which a new namespace inherits from a host that forwards.

    Without `ipv6`, the bridges send no packets of their own.
    """
    with network_of(names.NETNS_DIR / netns):
        _write("net/ipv4/ip_forward", "0")
        if not ipv6:
            for scope in ("all", "default"):
                _write(f"net/ipv6/conf/{scope}/disable_ipv6", "1")


def _write(name: str, value: str) -> None:
    try:
        (Path("/proc/sys") / name).write_text(value)
    except FileNotFoundError as error:
        raise LabError(f"this kernel has no {name}") from error


def _batch(netns: str | None, lines: list[str], *, check: bool = True) -> None:
    if not lines:
        return
    argv = ["ip", *(["-n", netns] if netns else []), *([] if check else ["-force"]), "-batch", "-"]
    run(argv, stdin="\n".join(lines) + "\n", check=check)
