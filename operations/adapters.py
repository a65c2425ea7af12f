"""Implementations of `failover.protocols`: commands over SSH, the lab's power, and the monitors' observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estate.addressing import AddressPlan, plan
from estate.model import Estate
from failover.protocols import DrillInterfaces, Machines, Observer
from lab.api import Lab
from monitors.observe import EstateObserver
from workstation import paths, ssh
from workstation.errors import Refused


@dataclass(frozen=True, kw_only=True)
class SshMachines:
    """Commands on hosts over the management network."""

    addresses: AddressPlan
    access: ssh.Access

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> ssh.Result:
        """Run `argv` on the host as root."""
        return ssh.run(self.access, str(self.addresses.management(host)), argv, stdin=stdin, timeout_s=timeout_s)


class LabPower:
    """The power of the lab's sites and hosts, by name."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def off(self, target: str) -> None:
        """Power off, without a signal to the machines."""
        self._lab.power_off([target])

    def on(self, target: str) -> None:
        """Power on."""
        self._lab.power_on([target])

    def is_on(self, target: str) -> bool:
        """Return whether every host of the target has power."""
        return self._lab.is_on(target)


def drill_interfaces(estate: Estate) -> DrillInterfaces:
    """Return what a drill needs. Raise `Refused` on a real estate: this project has no such switches there."""
    if not estate.lab:
        raise Refused("this estate is real: a drill has no switch for power and links here", "rehearse it in the lab")
    lab = Lab(estate, paths.home())
    return DrillInterfaces(machines=machines(estate), power=LabPower(lab), links=lab, observer=observer(estate))


def machines(estate: Estate) -> Machines:
    """Return the access to the estate's hosts."""
    return SshMachines(addresses=plan(estate), access=ssh.Access.default())


def observer(estate: Estate, *, tenants: bool = False) -> Observer:
    """Return the observer of the estate. With `tenants` its snapshots list the bureaus' own Deployments too."""
    return EstateObserver(estate, ssh.Access.default(), tenants=tenants)
