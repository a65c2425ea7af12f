"""What the drills need of the world, put together from SSH, the lab's mains and the monitors' eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estate.addressing import AddressPlan, plan
from estate.model import Estate
from failover.protocols import Machines, Observer, Power
from lab.api import Lab
from workstation import paths, ssh
from workstation.errors import Refused


@dataclass(frozen=True, kw_only=True)
class SshMachines:
    """Commands on hosts over the management network."""

    addresses: AddressPlan
    access: ssh.Access

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> ssh.Result:
        """Run `argv` on the host, as root."""
        return ssh.run(self.access, str(self.addresses.management(host)), argv, stdin=stdin, timeout_s=timeout_s)


class LabPower:
    """The lab's mains: a site or a host, by name."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def off(self, target: str) -> None:
        """Take the power away, silently."""
        self._lab.power_off([target])

    def on(self, target: str) -> None:
        """Give it back."""
        self._lab.power_on([target])

    def is_on(self, target: str) -> bool:
        """Whether every host of the target has power."""
        return self._lab.is_on(target)


def machines(estate: Estate) -> Machines:
    """The way into the estate's hosts."""
    return SshMachines(addresses=plan(estate), access=ssh.Access.default())


def power(estate: Estate) -> Power:
    """The mains. Raises `Refused` on a real estate: nobody has given this project a power switch there."""
    if not estate.lab:
        raise Refused("this estate is real: there is no power switch that a drill may press", "rehearse it in the lab")
    return LabPower(Lab(estate, paths.home()))


def observer(estate: Estate) -> Observer:
    """The monitors' view, in failover's words."""
    from cli.observation_adapter import MonitorObserver

    return MonitorObserver(estate, ssh.Access.default())
