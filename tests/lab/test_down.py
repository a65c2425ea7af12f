"""`down` leaves nothing, whatever it finds; the next `up` always works; one lab per host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import cleanup, lab_state, mounts, names, processes
from lab.api import Lab, instance_id
from tests.lab import small_lab, traces
from tests.lab.small_lab import DATA_HOST, EDGE_HOST, INTERRUPTED, LINK, MACHINES, SITE
from tests.polling import until
from workstation import paths

pytestmark = pytest.mark.lab

LOCKED = 8


def command(argument: str, checkout: Path | None = None) -> subprocess.Popen[str]:
    """The small lab's `up` or `down` in another process."""
    root = checkout or paths.repo()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lab.small_lab", argument],
        env={**os.environ, "PYTHONPATH": str(root)}, cwd=root, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and its standard error."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.fixture
def estate_lab() -> Iterator[Lab]:
    """A lab of a few machines, down before and after."""
    found = Lab(small_lab.small_estate())
    found.down()
    yield found
    found.down()


def nothing(_: Lab) -> None:
    """The lab as `up` left it."""


def use_it(lab: Lab) -> None:
    """A shell was open, a machine is off, a link is cut."""
    subprocess.run(lab.shell_argv(DATA_HOST, ["true"]), check=True, timeout=20)
    lab.power_off([SITE])
    lab.cut(LINK)


def kill_it(lab: Lab) -> None:
    """All of its processes are killed, and nobody cleaned up."""
    subprocess.run(lab.shell_argv(DATA_HOST, ["true"]), check=True, timeout=20)
    traces.kill_everything()


def damage_its_record(_: Lab) -> None:
    """The record cannot be read. The test restores the sysctls and loop devices itself: only the record knew them."""
    from lab import sysctls

    noted = lab_state.read()
    assert noted
    lab_state.STATE_FILE.write_text('{"instance":')
    sysctls.restore(noted.sysctls)


@pytest.mark.parametrize("harm", [nothing, use_it, kill_it, damage_its_record], ids=lambda harm: harm.__name__)
def test_down_leaves_nothing(estate_lab: Lab, harm: Callable[[Lab], None]) -> None:
    """No process, mount, namespace, control group, loop device, interface or changed setting of the lab."""
    before = traces.before()
    estate_lab.up()
    made = traces.census(estate_lab.directories.lab)
    harm(estate_lab)
    made |= traces.census(estate_lab.directories.lab)
    estate_lab.down()
    if harm is damage_its_record:
        cleanup._remove_loop_nodes(tuple(f"/dev/{name}" for name in before.loop_nodes))
    traces.assert_gone(before, made, estate_lab.directories.lab)
    assert not estate_lab.directories.lab.exists()
    assert instance_id() is None


def test_a_trace_that_is_left_is_reported(estate_lab: Lab) -> None:
    """The check above can fail: while the lab is still up, each kind of thing that it made is named."""
    before = traces.before()
    estate_lab.up()
    left = "\n".join(traces.remains(before, traces.census(estate_lab.directories.lab), estate_lab.directories.lab))
    for kind in ("process ", "mount ", "control group ", "loop device ", "namespace ", "file ", "kernel."):
        assert kind in left, left


FRESH_HOST = """
set -eu
while mountpoint -q {netns}; do umount --lazy --recursive {netns}; done
"$@" up
{harm}
"$@" down
"""


@pytest.mark.parametrize("harm", ["true", "echo '{{' >{record}"], ids=["as_up_left_it", "record_damaged"])
def test_down_unmounts_the_folder_of_namespaces_on_a_fresh_host(estate_lab: Lab, harm: str) -> None:
    """A host that never had a named namespace has no mount at /run/netns. `up` makes it; `down` removes it, and needs
    no record for that. The host of this test may have the mount for other programs, so everything happens in a private
    mount namespace without it."""
    script = FRESH_HOST.format(netns=names.NETNS_DIR, harm=harm.format(record=lab_state.STATE_FILE))
    script += f"cat /proc/self/mountinfo; test -e {names.NETNS_DIR} && echo directory is left || true"
    lab_command = [sys.executable, "-m", "tests.lab.small_lab"]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *lab_command],
        cwd=paths.repo(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(names.NETNS_DIR) not in done.stdout
    assert names.NETNS_SOURCE not in done.stdout
    assert "directory is left" not in done.stdout


def test_namespaces_of_other_programs_outlive_the_lab(estate_lab: Lab) -> None:
    """Another program may make a named namespace while the lab is up. `down` leaves it and its mount alone."""
    other = f"other-{os.getpid()}"
    estate_lab.up()
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        estate_lab.down()
        assert (names.NETNS_DIR / other).exists()
        assert subprocess.run(["ip", "netns", "exec", other, "true"], check=False).returncode == 0
    finally:
        subprocess.run(["ip", "netns", "delete", other], check=True)
    estate_lab.down()
    assert not mounts.is_mounted(names.NETNS_DIR, names.NETNS_SOURCE)


def test_down_without_a_lab_is_no_error(estate_lab: Lab) -> None:
    """Twice, even."""
    estate_lab.down()
    estate_lab.down()


def test_another_clone_brings_the_lab_up_after_everything_was_killed(estate_lab: Lab, tmp_path: Path) -> None:
    """`up` from a second checkout finds the remains, removes them, and starts again."""
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
    """The same instance; machines that are off are powered on."""
    estate_lab.up()
    first = instance_id()
    estate_lab.power_off([EDGE_HOST])
    estate_lab.up()
    assert instance_id() == first
    assert estate_lab.is_on(EDGE_HOST)


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
    before = traces.before()
    first = command("up")
    until("machines have begun to start", lambda: len(processes.running_machines()) >= len(MACHINES) // 2, 30)
    first.send_signal(signal.SIGINT)
    code, _ = finish(first)
    assert code == INTERRUPTED
    assert instance_id() is not None
    noted = lab_state.read()
    assert noted
    assert not noted.complete
    made = traces.census(estate_lab.directories.lab)
    estate_lab.up()
    assert all(machine.power for machine in estate_lab.status().machines)
    made |= traces.census(estate_lab.directories.lab)
    estate_lab.down()
    traces.assert_gone(before, made, estate_lab.directories.lab)


def test_the_prefix_is_the_labs_alone() -> None:
    """Everything is found by this prefix: nothing else may have it."""
    assert names.netns("futian-edge1") == "gc-futian-edge1"
    assert names.OPERATOR.startswith(names.PREFIX)
    assert names.WIRES.startswith(names.PREFIX)
