"""The estate as machines, segments and links."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estate import loader
from estate.addressing import plan
from lab import names
from lab.topology import MANAGEMENT_BRIDGE, PortKind, Topology, topology

INTERFACE_NAME_MAX = 15


@pytest.fixture(scope="module")
def lab() -> Topology:
    """The lab of the project's own estate."""
    estate = loader.load()
    return topology(estate, plan(estate))


def test_every_host_is_a_machine_in_a_namespace_of_its_own(lab: Topology) -> None:
    """The namespace has the host's name with the prefix by which `down` finds it."""
    estate = loader.load()
    assert [machine.name for machine in lab.machines] == [host.name for host in estate.hosts]
    assert {machine.netns for machine in lab.machines} == {f"gc-{host.name}" for host in estate.hosts}


def test_every_machine_is_on_the_management_network_and_on_its_segment(lab: Topology) -> None:
    """It has one port in each. The management bridge is in the operator's namespace."""
    for machine in lab.machines:
        management, segment = machine.ports[:2]
        assert (management.inside, management.bridge, management.outer_netns) == ("mgmt0", MANAGEMENT_BRIDGE, "gc-ops")
        assert (segment.inside, segment.outer_netns) == ("lan0", names.WIRES)
        assert segment.bridge == {s.place: s.bridge for s in lab.segments}[machine.place]


def test_every_link_is_a_wire_with_a_port_at_both_ends(lab: Topology) -> None:
    """The wire has the link's delay and bandwidth."""
    estate = loader.load()
    assert {(w.name, w.ends, w.delay_ms, w.bandwidth_mbit) for w in lab.wires} == {
        (link.name, link.ends, link.delay_ms, link.bandwidth_mbit) for link in estate.links
    }
    ends = {
        (port.wire, port.end): machine.name
        for machine in lab.machines
        for port in machine.ports
        if port.kind is PortKind.WIRE
    }
    assert ends == {(wire.name, end): host for wire in lab.wires for end, host in enumerate(wire.ends)}


def test_names_of_outer_ends_and_mac_addresses_are_unique(lab: Topology) -> None:
    """Outer ends share a namespace. The kernel allows names of 15 characters."""
    ports = [port for machine in lab.machines for port in machine.ports]
    for values in ([port.outside for port in ports], [port.mac for port in ports]):
        assert len(set(values)) == len(values)
    assert max(len(name) for port in ports for name in (port.inside, port.outside)) <= INTERFACE_NAME_MAX


def test_only_peers_machines_are_fixtures(lab: Topology) -> None:
    """Stacks configure the twelve machines of our own sites."""
    assert {machine.place for machine in lab.machines if machine.fixture} == {"province", "internet", "bureaus"}


def test_the_digest_changes_with_the_inputs_of_a_running_lab(lab: Topology) -> None:
    """The same estate gives the same digest."""
    estate = loader.load()
    assert topology(estate, plan(estate)).digest() == lab.digest()
    slower = replace(lab.wires[0], delay_ms=lab.wires[0].delay_ms + 1)
    assert replace(lab, wires=(slower, *lab.wires[1:])).digest() != lab.digest()
