"""The carrier of text messages: its address, and in a lab the program that simulates it on a peer's server."""

from __future__ import annotations

from estate.addressing import plan
from estate.model import Estate, Host
from facts import ports
from playbooks import host_programs
from playbooks.host_spec import File
from playbooks.render.text import header_comment

UNIT = "carrier-simulator.service"
PROGRAM = f"{host_programs.DIRECTORY}/carrier-simulator"
PORT = ports.HTTPS
"""The only port at which our services may call the province's servers (`playbooks/render/province.py`)."""
CONTROL = "127.0.0.1:8071"
"""The simulator's address for tests, on its own machine only."""
STATE = "/var/lib/carrier-simulator"


def address(estate: Estate) -> str:
    """Return the carrier's address for the services; empty without a carrier."""
    carrier = estate.carrier
    if not carrier:
        return ""
    if carrier.simulated_on:
        return f"http://{plan(estate).lan(carrier.simulated_on).ipv4}:{PORT}"
    return carrier.url or ""


def population(estate: Estate) -> str:
    """Return the first digits of the numbers of the test population; empty without a simulated carrier."""
    carrier = estate.carrier
    return (carrier.deliver_synthetic or "") if carrier and carrier.simulated_on else ""


def simulates(estate: Estate, host: Host) -> bool:
    """Return whether the carrier is simulated on this host."""
    return estate.carrier is not None and estate.carrier.simulated_on == host.name


def simulator_files(host: Host) -> tuple[File, ...]:
    """Return the program and its unit. The lab enables units that are where Debian has its own."""
    return (
        File(path=PROGRAM, text=host_programs.source("carrier_simulator"), mode="0755"),
        File(path=f"/usr/lib/systemd/system/{UNIT}", text=_unit(host)),
    )


def _unit(host: Host) -> str:
    """Return the unit. The lab's CA is not known at a peer, so the simulator does not check our certificate."""
    return f"""{header_comment("Simulated carrier of text messages", host.name)}[Unit]
Description=Simulated carrier of text messages
After=network.target

[Service]
ExecStart={PROGRAM} --listen [::]:{PORT} --control {CONTROL} --state {STATE} --unverified-receipts
DynamicUser=yes
StateDirectory=carrier-simulator
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
Restart=always
RestartSec=1
MemoryMax=96M

[Install]
WantedBy=multi-user.target
"""
