"""Implementations of `failover.protocols`: commands over SSH, the lab's power, and the monitors' observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from estate.addressing import AddressPlan, plan
from estate.model import Estate
from failover.protocols import DrillInterfaces, Links, Machines, Observer, Power
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


class LabLinks:
    """The lab's links, by name."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def cut(self, link: str) -> None:
        """Drop all packets in both directions."""
        self._lab.cut(link)

    def heal(self, link: str) -> None:
        """Let the link carry packets again."""
        self._lab.heal(link)

    def is_cut(self, link: str) -> bool:
        """Return whether a direction of the link drops packets."""
        return self._lab.is_cut(link)


def drill_interfaces(estate: Estate) -> DrillInterfaces:
    """Return what a drill needs. Raise `Refused` on a real estate: it has no switch for power and links."""
    return DrillInterfaces(
        machines=machines(estate), power=power(estate), links=links(estate), observer=observer(estate)
    )


def machines(estate: Estate) -> Machines:
    """Return the access to the estate's hosts."""
    return SshMachines(addresses=plan(estate), access=ssh.Access.default())


def power(estate: Estate) -> Power:
    """Return the power switch. Raise `Refused` on a real estate: this project has no power switch there."""
    if not estate.lab:
        raise Refused("this estate is real: a drill has no power switch here", "rehearse it in the lab")
    return LabPower(Lab(estate, paths.home()))


def links(estate: Estate) -> Links:
    """Return the switch for links. Raise `Refused` on a real estate: this project has no such switch there."""
    if not estate.lab:
        raise Refused("this estate is real: a drill has no switch for links here", "rehearse it in the lab")
    return LabLinks(Lab(estate, paths.home()))


def observer(estate: Estate, *, tenants: bool = False) -> Observer:
    """Return the observer of the estate. With `tenants` its snapshots list the bureaus' own Deployments too."""
    return EstateObserver(estate, ssh.Access.default(), tenants=tenants)
