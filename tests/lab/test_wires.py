"""Circuits have their declared properties, can change while frames pass, and can be cut without loss of carrier."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import pytest

from lab import names
from lab.api import Lab, LinkDirection
from lab.command import run
from tests.lab.frames import Tap, number_of
from workstation.errors import WrongUse

pytestmark = pytest.mark.lab


@pytest.fixture
def restored(lab: Lab) -> Iterator[Lab]:
    """The lab. Every link is as declared afterwards."""
    yield lab
    for wire in lab.topology.wires:
        lab.restore_link(wire.name)


def one_way_ms(lab: Lab, link: str, count: int = 200) -> float:
    """Return the lower quartile of the one-way delay of frames that are sent every millisecond.

    No frame may arrive too early, so the lower quartile is the circuit's own delay. Higher values also contain the time
    that a program waited for a processor. A virtual machine wakes programs later after pauses longer than that.
    """
    a, b = lab.estate.link(link).ends
    sent: dict[int, float] = {}
    delays: list[float] = []
    with Tap(a, link) as here, Tap(b, link) as there:

        def receive(within_s: float, most: int) -> None:
            for seen in there.frames(within_s=within_s, count=most):
                delays.append((seen.at - sent[number_of(seen)]) * 1000)

        for number in range(count):
            sent[number] = here.send(number)
            receive(0.001, count)
        receive(2, count - len(delays))
    assert len(delays) >= count * 0.95, f"only {len(delays)} of {count} frames arrived"
    return statistics.quantiles(delays, n=4)[0]


def interface(host: str, name: str) -> dict[str, object]:
    """Return the kernel's description of a machine's interface."""
    return dict(json.loads(run(["ip", "-n", names.netns(host), "-j", "link", "show", name]))[0])


def carrier_changes(lab: Lab, host: str, name: str) -> int:
    """Return how often the interface has lost or regained its carrier."""
    import subprocess

    argv = lab.shell_argv(host, ["cat", f"/sys/class/net/{name}/carrier_changes"])
    return int(subprocess.run(argv, capture_output=True, check=True, timeout=20).stdout)


@pytest.mark.parametrize("link", ["city-a", "ft-inet", "ft-sg"])
def test_a_circuit_has_the_declared_delay(restored: Lab, link: str) -> None:
    """The measured delay is at most 0.3 ms longer, for 0.5 ms as for 12 ms.

    Of five measurements the shortest counts: the host of a virtual machine takes processors away for moments.
    """
    declared = restored.estate.link(link).delay_ms
    measured = [one_way_ms(restored, link) for _ in range(5)]
    assert declared <= min(measured) < declared + 0.3, measured


def test_the_delay_can_change_while_the_circuit_carries_packets(restored: Lab) -> None:
    """A new delay applies to the next frame. After `restore_link`, the old delay applies again."""
    restored.set_link("city-a", delay_ms=40)
    assert 40 <= one_way_ms(restored, "city-a", 10) < 41
    restored.restore_link("city-a")
    assert one_way_ms(restored, "city-a", 10) < 1


def test_the_loss_is_the_requested_share(restored: Lab) -> None:
    """A third of 3000 frames is lost, within four standard deviations."""
    restored.set_link("city-b", loss=1 / 3)
    a, b = restored.estate.link("city-b").ends
    with Tap(a, "city-b") as here, Tap(b, "city-b") as there:
        for number in range(3000):
            here.send(number)
        arrived = len(there.numbers(within_s=1))
    assert 1900 < arrived < 2100


def test_the_bandwidth_spreads_a_burst(restored: Lab) -> None:
    """A hundred frames of 1250 bytes take 100 ms at 10 Mbit/s."""
    restored.set_link("city-b", bandwidth_mbit=10)
    a, b = restored.estate.link("city-b").ends
    with Tap(a, "city-b") as here, Tap(b, "city-b") as there:
        start = time.monotonic()
        for number in range(100):
            here.send(number, size=1250)
        seen = there.frames(within_s=2, count=100)
    assert len(seen) == 100
    assert 0.095 < seen[-1].at - start < 0.13


def test_a_cut_link_keeps_its_carrier_and_can_be_healed(restored: Lab) -> None:
    """No frame passes in either direction, and neither end loses its carrier."""
    a, b = restored.estate.link("city-a").ends
    before = [carrier_changes(restored, host, "city-a") for host in (a, b)]
    restored.cut("city-a")
    assert restored.is_cut("city-a")
    with Tap(a, "city-a") as here, Tap(b, "city-a") as there:
        for number in range(20):
            here.send(number)
            there.send(number)
        assert not there.numbers(within_s=0.3)
        assert not here.numbers(within_s=0.1)
        assert {interface(host, "city-a")["operstate"] for host in (a, b)} == {"UP"}
        restored.heal("city-a")
        here.send(99)
        assert there.numbers(within_s=1, count=1) == [99]
    assert not restored.is_cut("city-a")
    assert [carrier_changes(restored, host, "city-a") for host in (a, b)] == before


def test_a_cut_may_be_one_way(restored: Lab) -> None:
    """The other direction still carries frames."""
    a, b = restored.estate.link("city-a").ends
    restored.cut("city-a", LinkDirection.A_TO_B)
    with Tap(a, "city-a") as here, Tap(b, "city-a") as there:
        here.send(1)
        there.send(2)
        assert here.numbers(within_s=1, count=1) == [2]
        assert there.numbers(within_s=0.2) == []


def test_an_unknown_link_is_wrong_use(lab: Lab) -> None:
    """The error lists the known links."""
    with pytest.raises(WrongUse, match="city-a"):
        lab.cut("city-z")


def test_no_route_or_interface_leads_out_of_the_machine(lab: Lab) -> None:
    """The operator's namespace has no default route, and no interface of the lab is in the host's own namespace."""
    for family in ("-4", "-6"):
        assert run(["ip", family, "-n", names.OPERATOR, "route", "show", "default"]) == ""
    ours = {port.outside for machine in lab.topology.machines for port in machine.ports}
    here = {link["ifname"] for link in json.loads(run(["ip", "-j", "link", "show"]))}
    assert not here & ours
    inside = json.loads(run(["ip", "-n", names.OPERATOR, "-j", "-d", "link", "show", "type", "veth"]))
    known = {entry["name"] for entry in json.loads(run(["ip", "-j", "netns", "list"]))}
    assert inside
    for link in inside:
        assert link.get("link_netnsid") is not None
    assert {m.netns for m in lab.topology.machines} <= known
