"""A power cut is one: for disks, for neighbours, and for the machine itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.api import Lab
from tests.lab.estate_on_lab import govcloud
from tests.lab.frames import ALL, Seen, Tap
from tests.polling import until
from workstation.errors import WrongUse

pytestmark = pytest.mark.lab

FIN, RST = 0x01, 0x04
IPV6, IPV4, TCP = 0x86DD, 0x0800, 6

SPEAK = """
import signal, socket, sys
s = socket.create_connection((sys.argv[1], 22))
print(s.recv(100), flush=True)
signal.pause()
"""


def on(lab: Lab, host: str, *argv: str, stdin: bytes = b"") -> str:
    """What a command on a host says."""
    done = subprocess.run(lab.shell_argv(host, argv), input=stdin, capture_output=True, timeout=30, check=True)
    return done.stdout.decode()


@pytest.fixture
def powered(lab: Lab) -> Iterator[Lab]:
    """The lab; everything has power afterwards."""
    yield lab
    lab.power_on([machine.name for machine in lab.topology.machines], wait=True)


def is_end_of_tcp(frame: bytes) -> bool:
    """Whether it carries a FIN or RST, in either family."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == IPV4 and frame[23] == TCP:
        return bool(frame[14 + (frame[14] & 15) * 4 + 13] & (FIN | RST))
    return kind == IPV6 and frame[20] == TCP and bool(frame[54 + 13] & (FIN | RST))


def test_only_what_was_synced_survives(powered: Lab) -> None:
    """A file with fsync is there after the power came back, one without is gone."""
    host = "shaoguan-ops1"
    on(powered, host, "rm", "-f", "/srv/data/kept", "/srv/data/lost")
    on(powered, host, "sh", "-c", "dd if=/dev/zero of=/srv/data/kept bs=64k count=4 conv=fsync 2>&1; sync; "
       "dd if=/dev/zero of=/srv/data/lost bs=64k count=4 2>&1; ls /srv/data/lost")  # fmt: skip
    powered.power_off([host])
    powered.power_on([host], wait=True)
    assert on(powered, host, "stat", "-c", "%s", "/srv/data/kept").strip() == str(4 * 65536)
    assert "lost" not in on(powered, host, "ls", "/srv/data").split()


def test_a_data_disk_is_full_at_its_declared_size(powered: Lab) -> None:
    """A write beyond it is refused for want of space, on the machine and not on the one that carries the lab."""
    host = "shaoguan-ops1"
    declared = next(h.disk.size_mib for h in powered.estate.managed_hosts if h.name == host and h.disk)
    size, free = (int(n) >> 20 for n in on(powered, host, "df", "-B1", "--output=size,avail", "/srv/data").split()[2:])
    assert declared * 0.8 < size <= declared
    fill = f"fallocate -l {free - 8}M /srv/data/fill && dd if=/dev/zero of=/srv/data/more bs=1M count=64 2>&1"
    try:
        assert "No space left on device" in on(powered, host, "sh", "-c", f"LC_ALL=C; export LC_ALL; {fill} || true")
    finally:
        # Synced, for the next test cuts this site's power, and a removal the disk has not seen would be undone by it.
        on(powered, host, "sh", "-c", "rm -f /srv/data/fill /srv/data/more && sync /srv/data")


def test_a_neighbour_sees_nothing_but_silence(powered: Lab) -> None:
    """No FIN, no RST, no loss of carrier, and no answer any more."""
    dead, neighbour = "province-cloud1", "province-edge1"
    address = str(lan_address(powered, dead))
    carrier = on(powered, neighbour, "cat", "/sys/class/net/lan0/carrier_changes")
    talk = subprocess.Popen(powered.shell_argv(neighbour, ["python3", "-c", SPEAK, address]), stdout=subprocess.PIPE)
    assert talk.stdout is not None
    assert b"SSH" in talk.stdout.readline()
    with Tap(neighbour, "lan0", ALL) as capture:
        powered.power_off([dead])
        seen = capture.frames(within_s=3)
    talk.kill()
    talk.wait()
    talk.stdout.close()
    assert not [frame for frame in seen if is_end_of_tcp(frame.data)]
    assert not [frame for frame in from_mac(seen, powered, dead) if frame.at > seen[0].at + 2]
    assert on(powered, neighbour, "cat", "/sys/class/net/lan0/carrier_changes") == carrier
    assert not powered.is_on(dead)


def from_mac(seen: list[Seen], lab: Lab, host: str) -> list[Seen]:
    """Frames that the host has sent."""
    macs = {bytes.fromhex(port.mac.replace(":", "")) for port in lab.topology.machine(host).ports}
    return [frame for frame in seen if frame.data[6:12] in macs]


def lan_address(lab: Lab, host: str) -> object:
    """The host's address on its segment."""
    from estate.addressing import plan

    return plan(lab.estate).lan(host).ipv4


def test_routers_at_the_other_ends_keep_their_carrier(powered: Lab) -> None:
    """A site that loses power is silent on every circuit at once; the far ends' interfaces stay up."""
    far = [(w.name, end) for w in powered.topology.wires for end in w.ends
           if any(e.startswith("shaoguan") for e in w.ends) and not end.startswith("shaoguan")]  # fmt: skip
    before = {(link, end): on(powered, end, "cat", f"/sys/class/net/{link}/carrier_changes") for link, end in far}
    powered.power_off(["shaoguan"])
    assert not any(m.power for m in powered.status().machines if m.place == "shaoguan")
    for link, end in far:
        assert on(powered, end, "cat", f"/sys/class/net/{link}/operstate").strip() == "up"
    powered.power_on(["shaoguan"], wait=True)
    for link, end in far:
        assert on(powered, end, "cat", f"/sys/class/net/{link}/carrier_changes") == before[link, end]
    assert powered.is_on("shaoguan")


def test_power_may_be_cut_and_given_twice(powered: Lab) -> None:
    """Already off, or on, is no error."""
    for _ in range(2):
        powered.power_off(["bureau1"])
        assert not powered.is_on("bureau1")
    for _ in range(2):
        powered.power_on(["bureau1"], wait=True)
        assert powered.is_on("bureau1")


def test_a_machine_cannot_set_the_clock(lab: Lab) -> None:
    """The host's clock is not namespaced; the right to set it is withheld."""
    done = subprocess.run(lab.shell_argv("citizen1", ["date", "-s", "2020-01-01"]), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"not permitted" in done.stderr


@pytest.mark.parametrize("number", [16, 17, 22, 25], ids=["module", "rawio", "boot", "time"])
def test_a_machine_has_no_right_over_what_it_shares(lab: Lab, number: int) -> None:
    """Linux' capabilities by number: modules, raw devices, boot and the clock are the host's."""
    status = on(lab, "citizen1", "grep", "CapBnd", "/proc/1/status")
    assert not int(status.split()[1], 16) >> number & 1


def test_a_machine_cannot_change_a_setting_of_the_kernel(lab: Lab) -> None:
    """Only those of its own network. What is written is what is there, in case it could."""
    write = "cat /proc/sys/kernel/panic >/tmp/was; cat /tmp/was >/proc/sys/kernel/panic"
    done = subprocess.run(lab.shell_argv("citizen1", ["sh", "-c", write]), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Read-only file system" in done.stderr


def test_the_commands_do_to_the_lab_what_they_say(powered: Lab) -> None:
    """`lab status`, `shell`, `power`, `cut` and `heal`, as an operator types them."""

    def did(*argv: str) -> dict[str, Any]:
        done = govcloud("lab", *argv, "--json", timeout_s=60)
        assert done.code == 0, done.stderr
        return done.report

    found = did("status")
    assert {machine["name"] for machine in found["machines"]} == {m.name for m in powered.topology.machines}
    assert all(machine["power"] for machine in found["machines"])
    assert govcloud("lab", "shell", "bureau1", "hostname").stdout == "bureau1\n"
    assert govcloud("lab", "shell", "bureau1", "false").code == 1
    assert did("power", "off", "bureau1") == {"power": "off", "hosts": ["bureau1"]}
    assert not powered.is_on("bureau1")
    told = govcloud("lab", "status").stdout.splitlines()
    assert [line.split()[1] for line in told if line.split()[0] == "bureau1"] == ["OFF"]
    did("power", "on", "bureau1")
    until("it has power", lambda: powered.is_on("bureau1"), 30)
    assert did("cut", "city-a") == {"cut": "city-a"}
    assert powered.is_cut("city-a")
    assert did("heal", "city-a") == {"heal": "city-a"}
    assert not powered.is_cut("city-a")


def test_unknown_hosts_are_named(lab: Lab) -> None:
    """With the known ones beside."""
    with pytest.raises(WrongUse, match="futian-edge1"):
        lab.power_off(["futian-edge9"])
