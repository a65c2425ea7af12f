"""A power cut in the lab has the effects of a real one: on disks, on neighbours, and on the machine itself."""

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
    """Return the standard output of a command on a host."""
    done = subprocess.run(lab.shell_argv(host, argv), input=stdin, capture_output=True, timeout=30, check=True)
    return done.stdout.decode()


@pytest.fixture
def powered(lab: Lab) -> Iterator[Lab]:
    """The lab. All machines are powered on afterwards."""
    yield lab
    lab.power_on([machine.name for machine in lab.topology.machines], wait=True)


def is_end_of_tcp(frame: bytes) -> bool:
    """Return whether the frame carries a FIN or RST, in either family."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == IPV4 and frame[23] == TCP:
        return bool(frame[14 + (frame[14] & 15) * 4 + 13] & (FIN | RST))
    return kind == IPV6 and frame[20] == TCP and bool(frame[54 + 13] & (FIN | RST))


def test_only_synced_files_survive_a_power_cut(powered: Lab) -> None:
    """After power-on, a file written with fsync exists, and a file without fsync is lost."""
    host = "shaoguan-ops1"
    on(powered, host, "rm", "-f", "/srv/data/kept", "/srv/data/lost")
    on(powered, host, "sh", "-c", "dd if=/dev/zero of=/srv/data/kept bs=64k count=4 conv=fsync 2>&1; sync; "
       "dd if=/dev/zero of=/srv/data/lost bs=64k count=4 2>&1; ls /srv/data/lost")  # fmt: skip
    powered.power_off([host])
    powered.power_on([host], wait=True)
    assert on(powered, host, "stat", "-c", "%s", "/srv/data/kept").strip() == str(4 * 65536)
    assert "lost" not in on(powered, host, "ls", "/srv/data").split()


def test_a_data_disk_is_full_at_its_declared_size(powered: Lab) -> None:
    """A larger write fails with a full disk on the machine. The disk of the lab's host does not fill up."""
    host = "shaoguan-ops1"
    declared = next(h.disk.size_mib for h in powered.estate.managed_hosts if h.name == host and h.disk)
    size, free = (int(n) >> 20 for n in on(powered, host, "df", "-B1", "--output=size,avail", "/srv/data").split()[2:])
    assert declared * 0.8 < size <= declared
    fill = f"fallocate -l {free - 8}M /srv/data/fill && dd if=/dev/zero of=/srv/data/more bs=1M count=64 2>&1"
    try:
        assert "No space left on device" in on(powered, host, "sh", "-c", f"LC_ALL=C; export LC_ALL; {fill} || true")
    finally:
        # Sync the removal: the next test cuts this site's power, and that would undo an unsynced removal.
        on(powered, host, "sh", "-c", "rm -f /srv/data/fill /srv/data/more && sync /srv/data")


def test_a_neighbour_sees_no_sign_of_a_power_cut(powered: Lab) -> None:
    """No FIN or RST arrives, the carrier stays up, and the machine sends no more frames."""
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
    """Return the frames that the host sent."""
    macs = {bytes.fromhex(port.mac.replace(":", "")) for port in lab.topology.machine(host).ports}
    return [frame for frame in seen if frame.data[6:12] in macs]


def lan_address(lab: Lab, host: str) -> object:
    """Return the host's IPv4 address on its segment."""
    from estate.addressing import plan

    return plan(lab.estate).lan(host).ipv4


def test_routers_at_the_other_ends_keep_their_carrier(powered: Lab) -> None:
    """A powered-off site stops sending on all links at once. The interfaces at the far ends stay up."""
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


def test_powering_off_or_on_twice_is_no_error(powered: Lab) -> None:
    """A machine that already is off, or on, stays so."""
    for _ in range(2):
        powered.power_off(["bureau1"])
        assert not powered.is_on("bureau1")
    for _ in range(2):
        powered.power_on(["bureau1"], wait=True)
        assert powered.is_on("bureau1")


def test_a_machine_cannot_set_the_clock(lab: Lab) -> None:
    """The host's clock has no namespace, so machines have no capability to set it."""
    done = subprocess.run(lab.shell_argv("citizen1", ["date", "-s", "2020-01-01"]), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"not permitted" in done.stderr


@pytest.mark.parametrize("number", [16, 17, 22, 25], ids=["module", "rawio", "boot", "time"])
def test_a_machine_has_no_capability_over_shared_resources(lab: Lab, number: int) -> None:
    """Linux capabilities by number. Modules, raw devices, boot and the clock belong to the host."""
    status = on(lab, "citizen1", "grep", "CapBnd", "/proc/1/status")
    assert not int(status.split()[1], 16) >> number & 1


def test_a_machine_cannot_change_a_kernel_setting_of_the_host(lab: Lab) -> None:
    """A machine may change only settings of its own network. The test writes the present value, in case it succeeds."""
    write = "cat /proc/sys/kernel/panic >/tmp/was; cat /tmp/was >/proc/sys/kernel/panic"
    done = subprocess.run(lab.shell_argv("citizen1", ["sh", "-c", write]), capture_output=True, check=False)
    assert done.returncode != 0
    assert b"Read-only file system" in done.stderr


def test_the_lab_commands_change_the_lab(powered: Lab) -> None:
    """Run `lab status`, `shell`, `power`, `cut` and `heal` like an operator."""

    def report_of(*argv: str) -> dict[str, Any]:
        done = govcloud("lab", *argv, "--json", timeout_s=60)
        assert done.code == 0, done.stderr
        return done.report

    found = report_of("status")
    assert {machine["name"] for machine in found["machines"]} == {m.name for m in powered.topology.machines}
    assert all(machine["power"] for machine in found["machines"])
    assert govcloud("lab", "shell", "bureau1", "hostname").stdout == "bureau1\n"
    assert govcloud("lab", "shell", "bureau1", "false").code == 1
    assert report_of("power", "off", "bureau1") == {"power": "off", "hosts": ["bureau1"]}
    assert not powered.is_on("bureau1")
    lines = govcloud("lab", "status").stdout.splitlines()
    assert [line.split()[1] for line in lines if line.split()[0] == "bureau1"] == ["OFF"]
    report_of("power", "on", "bureau1")
    until("bureau1 has power", lambda: powered.is_on("bureau1"), 30)
    assert report_of("cut", "city-a") == {"cut": "city-a"}
    assert powered.is_cut("city-a")
    assert report_of("heal", "city-a") == {"heal": "city-a"}
    assert not powered.is_cut("city-a")


def test_an_unknown_host_is_wrong_use(lab: Lab) -> None:
    """The error lists the known hosts."""
    with pytest.raises(WrongUse, match="futian-edge1"):
        lab.power_off(["futian-edge9"])
