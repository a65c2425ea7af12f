"""The lab's interface for the command line and the drills: up, down, power, links."""

from __future__ import annotations

import hashlib
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from estate.addressing import plan
from estate.model import Estate
from lab import (
    cgroups,
    cleanup,
    lab_state,
    mounts,
    names,
    network,
    preflight,
    processes,
    seed_files,
    ssh_keys,
    status,
    sysctls,
)
from lab.command import LabError, network_of, wait_for
from lab.machines import Machines
from lab.topology import Machine, Topology, Wire, topology
from lab.wires_client import Wires, declared
from lab.wires_client import start as start_wires
from playbooks import render
from workstation import namespace, paths, ssh
from workstation.errors import WrongUse
from workstation.ssh import Access

Progress = Callable[[str], None]
BOOT_S = 60.0
"""Longest wait for a machine's SSH. 18 machines that boot together on two cores need a quarter of it."""

_DISKS_AT_ONCE = 4


class LinkDirection(StrEnum):
    """One or both directions of a link."""

    BOTH = "both"
    A_TO_B = "a-to-b"
    B_TO_A = "b-to-a"


_DIRECTION_INDEX = {LinkDirection.BOTH: -1, LinkDirection.A_TO_B: 0, LinkDirection.B_TO_A: 1}


def instance_id() -> str | None:
    """Return the identity of the lab on this host, or None if no lab is up. Each newly built lab gets a new one."""
    state = lab_state.read()
    return state.instance if state and network.exists(names.OPERATOR) else None


class Lab:
    """The estate as a lab on this host. Creating this object changes nothing on the host."""

    def __init__(self, estate: Estate, home: Path | None = None) -> None:
        self.estate = estate
        self.directories = names.Directories(home=home or paths.home())
        keys = self.directories.home / "ssh"
        self.access = Access(key=keys / "id_ed25519", known_hosts=keys / "known_hosts")
        self.topology: Topology = topology(estate, plan(estate))
        self.wires = Wires(self.directories, self.topology)

    # Up and down ------------------------------------------------------------------------------------------------

    def up(self, on_event: Progress = lambda _: None) -> None:
        """Start the lab, or power on its missing machines. Replace a lab of another estate, image or home directory.

        Raise `Locked` while another process changes the lab. After an interruption, the started parts stay and the
        next `up` rebuilds the lab.
        """
        started = time.monotonic()
        image = preflight.image()
        with lab_state.lock("lab up"):
            digest = self._digest(image)
            state = lab_state.read()
            if state and self._is_reusable(state, digest):
                self._power_on_missing(on_event, image)
                on_event(f"lab {state.instance} is up since {state.since}")
                return
            preflight.host()
            if traces := cleanup.leftovers():
                on_event(f"removing the remains of another lab: {', '.join(traces)}")
            cleanup.remove_all(self.directories, on_event)
            self._build(image, digest, on_event)
        on_event(f"lab up: {len(self.topology.machines)} machines in {time.monotonic() - started:.1f} s")

    def down(self, on_event: Progress = lambda _: None) -> None:
        """Remove the lab in any state. It is no error if no lab is there."""
        with lab_state.lock("lab down"):
            cleanup.remove_all(self.directories, on_event)
            ssh_keys.forget_hosts(self.access, {str(m.management.ipv4.ip) for m in self.topology.machines})
            lab_state.remove()
        on_event("lab down: everything is removed")

    def _digest(self, image: Path) -> str:
        """Return a hash of the lab's inputs. A running lab is reused only if it was built from the same inputs."""
        fixtures = [(m.name, render.fixture_files(self.estate, m.name)) for m in self.topology.machines if m.fixture]
        text = f"{self.topology.digest()} {image} {fixtures!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _is_reusable(self, state: lab_state.LabState, digest: str) -> bool:
        """Return whether the running lab is the wanted one, with namespaces and links. Its machines may be off."""
        if not state.complete or state.digest != digest or state.home != str(self.directories.home):
            return False
        try:
            return network.exists(names.OPERATOR) and len(self.wires.state()) == len(self.topology.wires)
        except LabError:
            return False

    def _power_on_missing(self, on_event: Progress, image: Path) -> None:
        running = processes.running_machines()
        off = [machine for machine in self.topology.machines if machine.name not in running]
        if off:
            on_event(f"powering on {', '.join(machine.name for machine in off)}")
            self._power_on(self._machines(image), off)
            self._await_ssh(off)

    def _build(self, image: Path, digest: str, on_event: Progress) -> None:
        """Create the lab on a host without remains of another. Record the host's state before the first change."""
        state = lab_state.LabState(
            instance=secrets.token_hex(6),
            checkout=str(paths.repo()),
            home=str(self.directories.home),
            digest=digest,
            image=str(image),
            since=lab_state.now(),
            boot=lab_state.boot(),
            loops=tuple(f"/dev/{entry.name}" for entry in Path("/sys/block").glob("loop*")),
            available_before_mib=status.available_mib(),
            processors_shared=cgroups.shares_processors(cgroups.detect()),
        )
        lab_state.write(state)
        mounts.share(self.directories.mounts)
        if not mounts.is_mounted(names.NETNS_DIR):  # otherwise `ip netns add` mounts it, but not under our name
            mounts.share(names.NETNS_DIR, names.NETNS_SOURCE)
        sysctls.change(nodes=bool(self.estate.clusters))
        machines = self._machines(image)
        on_event("preparing the machines' disks and keys")
        self._prepare(machines, image)
        on_event("building the networks and links")
        network.build_core(self.topology)
        start_wires(self.directories, cgroups.create(cgroups.without_processors(cgroups.detect()), names.WIRES_GROUP))
        self.wires.add_all()
        on_event(f"powering on {len(self.topology.machines)} machines")
        self._power_on(machines, self.topology.machines)
        self._await_ssh(self.topology.machines)
        lab_state.write(replace(state, complete=True))

    def _machines(self, image: Path) -> Machines:
        return Machines(self.directories, image, cgroups.detect())

    def _prepare(self, machines: Machines, image: Path) -> None:
        operator = ssh_keys.operator_key(self.access)
        keys = {machine.name: ssh_keys.new_key(machine.name) for machine in self.topology.machines}

        def prepare(machine: Machine) -> None:
            files = seed_files.identity_files(machine, keys[machine.name], operator)
            if machine.fixture:
                for file in render.fixture_files(self.estate, machine.name):
                    files[file.path] = seed_files.on_disk(file, image)
            units = render.fixture_units(self.estate, machine.name) if machine.fixture else ()
            machines.prepare(machine, files, units)

        _in_parallel(prepare, self.topology.machines)
        ssh_keys.trust_hosts(
            self.access, {str(m.management.ipv4.ip): keys[m.name].public for m in self.topology.machines}
        )

    def _power_on(self, machines: Machines, wanted: Sequence[Machine]) -> None:
        network.plug_in(wanted)
        self.wires.attach(wanted)

        def start(machine: Machine) -> None:
            machines.mount(machine)
            machines.start(machine)

        _in_parallel(start, wanted)

    def _await_ssh(self, wanted: Iterable[Machine]) -> None:
        """Wait until the SSH server of every machine sends its greeting.

        Raise `LabError` with the silent hosts and the path of a console log.
        """
        waiting = {machine.name: str(machine.management.ipv4.ip) for machine in wanted}
        with network_of(names.NETNS_DIR / names.OPERATOR):

            def all_answer() -> bool:
                for name in [name for name, address in waiting.items() if _ssh_answers(address)]:
                    del waiting[name]
                return not waiting

            try:
                wait_for("every machine answers", all_answer, deadline_s=BOOT_S, every_s=0.05)
            except LabError:
                hosts = ", ".join(sorted(waiting))
                console = self.directories.console(next(iter(waiting)))
                raise LabError(f"no SSH answer within {BOOT_S:g} s from: {hosts}", f"read {console}") from None

    # Power ------------------------------------------------------------------------------------------------------

    def power_off(self, targets: Iterable[str]) -> None:
        """Cut the power of hosts or whole sites, all at the same moment.

        Their links stop, unsynced data is lost, and no connection is closed cleanly. A host that is already off is no
        error. Raise `WrongUse` for an unknown name.
        """
        wanted = self._targets(targets)
        with lab_state.lock("lab power off"):
            self._require_up()
            self.wires.detach(wanted)
            network.drop_traffic(wanted)
            self._machines(self._image()).cut_power(wanted)
            network.unplug(wanted)
            ssh_keys.close_connections(self.access, [str(machine.management.ipv4.ip) for machine in wanted])

    def power_on(self, targets: Iterable[str], *, wait: bool = False) -> None:
        """Power on hosts or sites. Return when the machines begin to boot, or with `wait` when they answer by SSH."""
        wanted = self._targets(targets)
        with lab_state.lock("lab power on"):
            self._require_up()
            running = processes.running_machines()
            off = [machine for machine in wanted if machine.name not in running]
            if off:
                machines = self._machines(self._image())
                self._clean_up_after(machines, off)
                self._power_on(machines, off)
            if wait:
                self._await_ssh(wanted)

    def is_on(self, target: str) -> bool:
        """Return whether every host of the target has power."""
        running = processes.running_machines()
        return all(machine.name in running for machine in self._targets([target]))

    def _clean_up_after(self, machines: Machines, wanted: Sequence[Machine]) -> None:
        """Remove the link ends, mounts and namespaces of machines that died without `power_off`."""
        self.wires.detach(wanted)
        for machine in wanted:
            machines.release(machine)
        network.unplug(wanted)

    def _image(self) -> Path:
        """Return the image of the running lab, even if a newer image has been built since."""
        state = lab_state.read()
        return Path(state.image) if state else preflight.image()

    # Links ------------------------------------------------------------------------------------------------------

    def cut(self, link: str, direction: str = LinkDirection.BOTH) -> None:
        """Drop all packets of a link, without loss of carrier and without a reset. Packets on the link are lost."""
        self._link(link)
        self.wires.cut(link, _direction_index(direction), True)

    def heal(self, link: str, direction: str = LinkDirection.BOTH) -> None:
        """Let a link carry packets again."""
        self._link(link)
        self.wires.cut(link, _direction_index(direction), False)

    def is_cut(self, link: str) -> bool:
        """Return whether at least one direction of the link is cut."""
        self._link(link)
        return any(direction.settings.cut for direction in self.wires.state()[link])

    def set_link(
        self,
        link: str,
        *,
        delay_ms: float | None = None,
        loss: float | None = None,
        bandwidth_mbit: float | None = None,
    ) -> None:
        """Change both directions of a link while it carries packets. A value of None keeps the present one.

        `delay_ms` is one-way, `loss` is a share from 0 to 1, and a `bandwidth_mbit` of 0 is unlimited.
        """
        self._link(link)
        if (delay_ms or 0) < 0 or not 0 <= (loss or 0) <= 1 or (bandwidth_mbit or 0) < 0:
            raise WrongUse("a link's delay and bandwidth cannot be negative, and its loss is a share from 0 to 1")
        values = {"delay_ms": delay_ms, "loss": loss, "bandwidth_mbit": bandwidth_mbit}
        given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
        now = self.wires.state()[link]
        for index in (0, 1):
            self.wires.change(link, index, replace(now[index].settings, **given))

    def restore_link(self, link: str) -> None:
        """Restore the estate's delay and bandwidth, without loss and without a cut."""
        self.wires.change(link, -1, declared(self._link(link)))

    # Status and shell -------------------------------------------------------------------------------------------

    def status(self) -> status.LabStatus:
        """Return the present state of machines, links and memory."""
        return status.read(self.topology, self.wires)

    def shell_argv(self, host: str, command: Sequence[str] = ()) -> list[str]:
        """Return the command line for a shell or one command on a host: SSH from the operator's namespace."""
        machine = self._targets([host])[0]
        self._require_up()
        address = str(machine.management.ipv4.ip)
        return [*namespace.enter_argv(), *ssh.command(self.access, address, list(command), tty=not command)]

    def _require_up(self) -> None:
        if not network.exists(names.OPERATOR) or not lab_state.read():
            raise LabError("no lab is up on this host", "run ./govcloud lab up")

    def _targets(self, wanted: Iterable[str]) -> list[Machine]:
        """Return the machines of hosts and places, each once. Raise `WrongUse` for an unknown name."""
        found: dict[str, Machine] = {}
        for name in wanted:
            matching = [m for m in self.topology.machines if name in (m.name, m.place)]
            if not matching:
                machines = self.topology.machines
                known = ", ".join([*dict.fromkeys(m.place for m in machines), *(m.name for m in machines)])
                raise WrongUse(f"unknown host or site {name!r}", f"known: {known}")
            found.update({machine.name: machine for machine in matching})
        return list(found.values())

    def _link(self, name: str) -> Wire:
        for wire in self.topology.wires:
            if wire.name == name:
                return wire
        raise WrongUse(f"unknown link {name!r}", f"known: {', '.join(wire.name for wire in self.topology.wires)}")


def _direction_index(direction: str) -> int:
    try:
        return _DIRECTION_INDEX[LinkDirection(direction)]
    except ValueError:
        raise WrongUse(f"unknown direction {direction!r}", f"known: {', '.join(LinkDirection)}") from None


def _in_parallel(act: Callable[[Machine], None], machines: Sequence[Machine]) -> None:
    with ThreadPoolExecutor(max_workers=_DISKS_AT_ONCE) as pool:
        list(pool.map(act, machines))


def _ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=0.5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
