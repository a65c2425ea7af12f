"""`down` removes the lab completely from any state, and the next `up` works. A host has one lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
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
    """Start the small lab's `up` or `down` in another process."""
    root = checkout or paths.repo()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.lab.small_lab", argument],
        env={**os.environ, "PYTHONPATH": str(root)}, cwd=root, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the process. Return its exit code and its standard error."""
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.fixture
def estate_lab() -> Iterator[Lab]:
    """A lab of five machines. No lab is up before and after."""
    found = Lab(small_lab.small_estate())
    found.down()
    yield found
    found.down()


def nothing(_: Lab) -> None:
    """Leave the lab as `up` created it."""


def use_it(lab: Lab) -> None:
    """Open and close a shell, power off a site, cut a link."""
    subprocess.run(lab.shell_argv(DATA_HOST, ["true"]), check=True, timeout=20)
    lab.power_off([SITE])
    lab.cut(LINK)


def kill_it(lab: Lab) -> None:
    """Kill all processes of the lab, without any cleanup."""
    subprocess.run(lab.shell_argv(DATA_HOST, ["true"]), check=True, timeout=20)
    traces.kill_everything()


def damage_its_record(_: Lab) -> None:
    """Make the record unreadable. The test restores loop devices: only the record names those from before the lab."""
    lab_state.STATE_FILE.write_text('{"instance":')


@pytest.mark.parametrize("harm", [nothing, use_it, kill_it, damage_its_record], ids=lambda harm: harm.__name__)
def test_down_removes_every_trace_of_the_lab(estate_lab: Lab, harm: Callable[[Lab], None]) -> None:
    """After `down`, no process, mount, namespace, control group, loop device, interface or changed setting is left."""
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


def test_a_remaining_trace_is_reported(estate_lab: Lab) -> None:
    """The check above can fail: while the lab is still up, it reports each kind of object that the lab created."""
    before = traces.before()
    estate_lab.up()
    before = replace(before, sysctls={**before.sysctls, "kernel.panic": "another value"})
    left = "\n".join(traces.remains(before, traces.census(estate_lab.directories.lab), estate_lab.directories.lab))
    for kind in ("process ", "mount ", "control group ", "loop device ", "namespace ", "file ", "kernel.panic"):
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
    """On a fresh host nothing is mounted at /run/netns. `up` mounts it; `down` unmounts it, even without a record.

    On the host of this test, other programs may have mounted it. So the test runs in a private mount namespace without
    that mount.
    """
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
    """Another program may create a named namespace while the lab is up. `down` keeps it and its mount."""
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
    """`down` can be repeated."""
    estate_lab.down()
    estate_lab.down()


def test_another_clone_starts_the_lab_after_all_its_processes_were_killed(estate_lab: Lab, tmp_path: Path) -> None:
    """`up` of a second checkout removes the remains and builds a new lab."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.repo()), str(clone)], check=True)
    estate_lab.up()
    first = instance_id()
    traces.kill_everything()
    code, errors = finish(command("up", checkout=clone))
    assert code == 0, errors
    recorded = lab_state.read()
    assert recorded
    assert recorded.checkout == str(clone)
    assert recorded.instance != first
    assert all(machine.power for machine in estate_lab.status().machines)


def test_a_second_up_keeps_the_running_lab(estate_lab: Lab) -> None:
    """The instance stays the same, and `up` powers on machines that are off."""
    estate_lab.up()
    first = instance_id()
    estate_lab.power_off([EDGE_HOST])
    estate_lab.up()
    assert instance_id() == first
    assert estate_lab.is_on(EDGE_HOST)


def test_only_one_process_changes_the_lab(estate_lab: Lab) -> None:
    """A second `up` is refused with the holder's checkout, process and start. Killing the holder frees the lock."""
    first = command("up")
    until(
        "the first process holds the lock",
        lambda: lab_state.LOCK_FILE.exists() and lab_state.LOCK_FILE.read_text() != "",
        30,
    )
    code, errors = finish(command("up"))
    assert code == LOCKED
    assert str(paths.repo()) in errors
    assert str(first.pid) in errors
    assert "since" in errors
    first.kill()
    finish(first)
    code, errors = finish(command("up"))
    assert code == 0, errors


def test_an_interrupted_up_can_be_repeated_or_removed(estate_lab: Lab) -> None:
    """After Ctrl-C during the start of machines, `up` completes the lab and `down` removes it."""
    before = traces.before()
    first = command("up")
    until("half of the machines have started", lambda: len(processes.running_machines()) >= len(MACHINES) // 2, 30)
    first.send_signal(signal.SIGINT)
    code, _ = finish(first)
    assert code == INTERRUPTED
    assert instance_id() is not None
    recorded = lab_state.read()
    assert recorded
    assert not recorded.complete
    made = traces.census(estate_lab.directories.lab)
    estate_lab.up()
    assert all(machine.power for machine in estate_lab.status().machines)
    made |= traces.census(estate_lab.directories.lab)
    estate_lab.down()
    traces.assert_gone(before, made, estate_lab.directories.lab)


def test_all_namespaces_of_the_lab_have_its_prefix() -> None:
    """`down` finds everything by this prefix, so only the lab's objects may have it."""
    assert names.netns("futian-edge1") == "gc-futian-edge1"
    assert names.OPERATOR.startswith(names.PREFIX)
    assert names.WIRES.startswith(names.PREFIX)
