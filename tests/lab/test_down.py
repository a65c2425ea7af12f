"""`down` leaves nothing, whatever it finds; the next `up` always works; one lab per host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from estate import loader
from lab import cleanup, lab_state, names, processes
from lab.api import Lab, instance_id
from tests.lab import traces
from tests.polling import until
from workstation import paths

pytestmark = pytest.mark.lab

LOCKED = 8


def command(*argv: str, checkout: Path | None = None) -> subprocess.Popen[str]:
    """The lab's own command line in another process."""
    root = checkout or paths.repo()
    return subprocess.Popen(
        [sys.executable, "-m", "lab", *argv],
        env={**os.environ, "PYTHONPATH": str(root)}, cwd=root, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture
def estate_lab() -> Iterator[Lab]:
    """The lab of the project's estate, down before and after."""
    found = Lab(loader.load())
    found.down()
    yield found
    found.down()


def nothing(_: Lab) -> None:
    """The lab as `up` left it."""


def use_it(lab: Lab) -> None:
    """Shells open, a machine off, a link cut."""
    subprocess.run(lab.shell_argv("futian-data1", ["true"]), check=True, timeout=20)
    lab.power_off(["nanshan"])
    lab.cut("ft-sg")


def kill_it(lab: Lab) -> None:
    """All of its processes killed, nobody cleaned up."""
    subprocess.run(lab.shell_argv("futian-data1", ["true"]), check=True, timeout=20)
    traces.kill_everything()


def forget_it(_: Lab) -> None:
    """The record is damaged; sysctls are put back by hand, for only the record knew them."""
    from lab import sysctls

    noted = lab_state.read()
    assert noted
    lab_state.STATE_FILE.write_text('{"instance":')
    sysctls.restore(noted.sysctls)


@pytest.mark.parametrize("harm", [nothing, use_it, kill_it, forget_it], ids=lambda harm: harm.__name__)
def test_down_leaves_nothing(estate_lab: Lab, harm: Callable[[Lab], None]) -> None:
    """No process, mount, namespace, control group, loop device, interface or changed setting."""
    before, known, volatile = traces.before_it()
    estate_lab.up()
    harm(estate_lab)
    estate_lab.down()
    if harm is forget_it:  # as with the sysctls: only the record knew how many free loop devices there were before
        cleanup._remove_loop_nodes(tuple(f"/dev/{name}" for name in before.loops if ":" not in name))
    traces.clean(before, known, volatile)
    assert not cleanup.leftovers()
    assert not estate_lab.directories.lab.exists()
    assert instance_id() is None


def test_down_without_a_lab_is_no_error(estate_lab: Lab) -> None:
    """Twice, even."""
    estate_lab.down()
    estate_lab.down()


def test_another_clone_brings_the_lab_up_after_everything_was_killed(estate_lab: Lab, tmp_path: Path) -> None:
    """`up` from a second checkout finds the ruins, clears them, and starts anew."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.repo()), str(clone)], check=True)
    estate_lab.up()
    first = instance_id()
    traces.kill_everything()
    code, said = finish(command("up", checkout=clone))
    assert code == 0, said
    noted = lab_state.read()
    assert noted
    assert noted.checkout == str(clone)
    assert noted.instance != first
    assert all(machine.power for machine in estate_lab.status().machines)


def test_a_second_up_uses_what_is_there(estate_lab: Lab) -> None:
    """The same instance; machines without power get it back."""
    estate_lab.up()
    first = instance_id()
    estate_lab.power_off(["citizen1"])
    estate_lab.up()
    assert instance_id() == first
    assert estate_lab.is_on("citizen1")


def test_only_one_process_changes_the_lab(estate_lab: Lab) -> None:
    """A second `up` is refused with the holder's checkout, process and start; a killed holder's lock is free."""
    first = command("up")
    until(
        "the first holds the lock", lambda: lab_state.LOCK_FILE.exists() and lab_state.LOCK_FILE.read_text() != "", 30
    )
    code, said = finish(command("up"))
    assert code == LOCKED
    assert str(paths.repo()) in said
    assert str(first.pid) in said
    assert "since" in said
    first.kill()
    finish(first)
    code, said = finish(command("up"))
    assert code == 0, said


def test_an_interrupted_up_can_be_repeated_or_taken_down(estate_lab: Lab) -> None:
    """Ctrl-C while machines start."""
    before, known, volatile = traces.before_it()
    first = command("up")
    until("machines have begun to start", lambda: len(processes.running_machines()) > 3, 30)
    first.send_signal(signal.SIGINT)
    code, _ = finish(first)
    assert code != 0
    assert instance_id() is not None
    noted = lab_state.read()
    assert noted
    assert not noted.complete
    estate_lab.up()
    assert all(machine.power for machine in estate_lab.status().machines)
    estate_lab.down()
    traces.clean(before, known, volatile)


def test_the_prefix_is_the_labs_alone() -> None:
    """Everything is found by this prefix: nothing else may have it."""
    assert names.netns("futian-edge1") == "gc-futian-edge1"
    assert names.OPERATOR.startswith(names.PREFIX)
    assert names.WIRES.startswith(names.PREFIX)
