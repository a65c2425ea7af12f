"""What the lab reads from its host, and its own lock, record, keys and files."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from lab import cgroups, lab_state, mounts, ssh_keys, sysctls
from lab.seed_files import on_disk
from playbooks.host_spec import File
from workstation.errors import Locked
from workstation.ssh import Access


def hierarchy(root: Path, *names: str) -> None:
    """Create control group hierarchies as directories."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cgroup.procs").write_text("")


def unified(root: Path, root_controllers: str) -> cgroups.Layout:
    """Create the one hierarchy of version 2 as directories."""
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / "cgroup.subtree_control").write_text(root_controllers)
    (root / "govcloud").mkdir()
    (root / "govcloud/cgroup.subtree_control").write_text("")
    return cgroups.detect(root)


def test_v1_and_hybrid_hosts_use_the_named_hierarchies(tmp_path: Path) -> None:
    """Machines share the processors, and a peer's machine has more than it needs.

    A process that needs a real-time budget stays out of the hierarchy that divides the processors.
    """
    hierarchy(tmp_path, "systemd", "unified", "cpu", "memory", "pids")
    layout = cgroups.detect(tmp_path)
    assert not layout.unified
    assert [path.name for path in layout.hierarchies] == ["systemd", "unified", "memory", "pids"]
    groups = cgroups.create(layout, "futian-data1")
    assert groups[0] == tmp_path / "systemd/govcloud/futian-data1"
    assert groups[-1] == tmp_path / "cpu/govcloud/futian-data1"
    assert (tmp_path / "cpu/govcloud/cpu.shares").read_text() == "2048"
    cgroups.create(layout, "citizen1", weight=cgroups.PEER_MACHINE)
    weights = [(tmp_path / "cpu/govcloud" / host / "cpu.shares").read_text() for host in ("futian-data1", "citizen1")]
    assert weights == ["1024", "8192"]
    wires = cgroups.create(cgroups.without_processors(layout), "wires")
    assert not [group for group in wires if group.is_relative_to(tmp_path / "cpu")]


def test_v2_hosts_have_one_hierarchy_that_accounts_for_the_machines(tmp_path: Path) -> None:
    """It accounts memory and processes, if the root does."""
    layout = unified(tmp_path, root_controllers="cpu memory")
    assert layout.unified
    layout = cgroups.without_processors(layout)
    assert cgroups.create(layout, "futian-data1") == [tmp_path / "govcloud/futian-data1"]
    assert (tmp_path / "govcloud/cgroup.subtree_control").read_text() == "+memory"


@pytest.mark.parametrize(("shares", "weight"), [(1024, "100"), (2048, "200"), (8192, "800")])
def test_a_machines_share_of_the_processors_is_the_same_in_both_versions(shares: int, weight: str) -> None:
    """The kernel's default is 1024 in version 1 and 100 in version 2."""
    assert cgroups.setting(shares, unified=False) == ("cpu.shares", str(shares))
    assert cgroups.setting(shares, unified=True) == ("cpu.weight", weight)


@pytest.mark.parametrize(("cpus", "shares"), [(0.01, 256), (1, 1024), (2, 2048), (64, 4096)])
def test_a_machines_shares_follow_its_processors_in_the_estate(cpus: float, shares: int) -> None:
    """They have limits: the load generator, on a peer's machine, is never short of processors."""
    assert cgroups.weight(cpus) == shares


def test_v2_machines_share_the_processors(tmp_path: Path) -> None:
    """If the root does not share them yet, the lab turns that on and turns it off again when it is removed."""
    layout = unified(tmp_path, root_controllers="memory pids")
    assert not cgroups.shares_processors(layout)
    cgroups.create(layout, "futian-data1")
    cgroups.create(layout, "citizen1", weight=cgroups.PEER_MACHINE)
    enabled = [(folder / "cgroup.subtree_control").read_text() for folder in (tmp_path, tmp_path / "govcloud")]
    assert enabled == ["+cpu", "+cpu"]
    weights = [(tmp_path / "govcloud" / host / "cpu.weight").read_text() for host in ("", "futian-data1", "citizen1")]
    assert weights == ["200", "100", "800"]
    cgroups.stop_sharing_processors(layout)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "-cpu"


def test_v2_hosts_that_share_the_processors_already_are_left_unchanged(tmp_path: Path) -> None:
    layout = unified(tmp_path, root_controllers="cpu")
    assert cgroups.shares_processors(layout)
    cgroups.create(layout, "futian-data1")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "cpu"


def test_v2_wires_change_no_controllers_and_a_refusing_root_is_no_failure(tmp_path: Path) -> None:
    """The link emulator starts first. A kernel with real-time groups then refuses to share the processors."""
    layout = unified(tmp_path, root_controllers="memory")
    cgroups.create(cgroups.without_processors(layout), "wires")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "memory"
    assert not (tmp_path / "govcloud/cpu.weight").exists()
    (tmp_path / "cgroup.subtree_control").write_text("cpu")
    (tmp_path / "govcloud/cgroup.subtree_control").unlink()  # reading it fails, as writing does on a real host
    assert cgroups.create(layout, "futian-data1") == [tmp_path / "govcloud/futian-data1"]
    assert not (tmp_path / "govcloud/futian-data1/cpu.weight").exists()


def test_members_include_the_processes_of_groups_below(tmp_path: Path) -> None:
    """The systemd of a machine creates its own groups."""
    (tmp_path / "cgroup.controllers").write_text("")
    hierarchy(tmp_path, "govcloud/a/payload", "govcloud/b")
    (tmp_path / "govcloud/a/payload/cgroup.procs").write_text("11\n12\n")
    (tmp_path / "govcloud/b/cgroup.procs").write_text("21\n")
    layout = cgroups.detect(tmp_path)
    assert cgroups.members(layout, ["a"]) == {11, 12}
    assert cgroups.members(layout) == {11, 12, 21}


def test_memory_is_read_in_both_versions(tmp_path: Path) -> None:
    """It is `anon` in version 2, `total_rss` in version 1, and None if the host does not account it."""
    (tmp_path / "cgroup.controllers").write_text("")
    hierarchy(tmp_path, "govcloud/a", "govcloud/b", "govcloud/c")
    (tmp_path / "govcloud/a/memory.stat").write_text("anon 1048576\nfile 99\n")
    (tmp_path / "govcloud/b/memory.stat").write_text("cache 5\ntotal_rss 2097152\n")
    layout = cgroups.detect(tmp_path)
    assert [cgroups.memory_bytes(layout, host) for host in "abc"] == [1048576, 2097152, None]


def test_a_nodes_pods_count_as_the_machines_own(tmp_path: Path) -> None:
    """In version 1 they are next to the machine's group. Their memory and processes count for the machine."""
    hierarchy(tmp_path, "memory", "memory/govcloud/a", "memory/kubernetes-a/kubepods/one", "memory/kubernetes-b")
    (tmp_path / "memory/govcloud/a/memory.stat").write_text("total_rss 100\n")
    (tmp_path / "memory/kubernetes-a/memory.stat").write_text("total_rss 7\n")
    (tmp_path / "memory/govcloud/a/cgroup.procs").write_text("11\n")
    (tmp_path / "memory/kubernetes-a/kubepods/one/cgroup.procs").write_text("12\n")
    (tmp_path / "memory/kubernetes-b/cgroup.procs").write_text("13\n")
    layout = cgroups.detect(tmp_path)
    assert cgroups.memory_bytes(layout, "a") == 107
    assert cgroups.members(layout, ["a"]) == {11, 12}
    assert cgroups.members(layout) == {11}  # a node outside the lab is not killed with the lab


def test_the_groups_of_a_running_node_stay(tmp_path: Path) -> None:
    """They are empty between two pods, but its kubelet needs them."""
    for path in ("memory/kubernetes-dead/kubepods/one", "cpu/kubernetes-dead", "memory/kubernetes-alive/kubepods"):
        (tmp_path / path).mkdir(parents=True)
    cgroups.remove_nodes({"alive"}, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["kubernetes-alive"]
    assert (tmp_path / "memory/kubernetes-alive/kubepods").is_dir()


def test_the_mount_table_is_read_with_its_escapes() -> None:
    """It contains the root of this process."""
    assert Path("/") in {mount.where for mount in mounts.table()}


def test_only_a_file_with_a_lab_disks_name_is_a_lab_disk() -> None:
    """The lab must not touch other loop devices of the host."""
    assert mounts.is_lab_disk(Path("/x/lab/disks/govcloud-futian-data1.disk"))
    assert not mounts.is_lab_disk(Path("/x/images/govcloud.iso"))


OWN = {
    "fs.inotify.max_user_instances": "128", "kernel.pid_max": "4194304", "kernel.panic": "1",
    "kernel.panic_on_oops": "0", "vm.overcommit_memory": "0",
}  # fmt: skip
"""A host's own values. Its kernel has no `fs.inotify.max_user_watches`."""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Settings of a kernel as files, and a record of the test's own."""
    monkeypatch.setattr(sysctls, "PROC", tmp_path / "proc")
    monkeypatch.setattr(sysctls, "RECORD", tmp_path / "run/sysctls.json")
    for name, value in OWN.items():
        path = tmp_path / "proc" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return tmp_path


@pytest.mark.parametrize("nodes", [False, True])
def test_sysctls_are_changed_and_restored(kernel: Path, nodes: bool) -> None:
    """A large enough value stays. A setting that the kernel lacks is skipped."""
    sysctls.change(nodes=nodes)
    changed = OWN | {"fs.inotify.max_user_instances": "8192"} | (sysctls.NODE_VALUES if nodes else {})
    assert sysctls.read() == changed
    assert sysctls.restore() == []
    assert sysctls.read() == OWN
    assert not sysctls.RECORD.exists()
    assert sysctls.restore() == [], "a second cleanup restores nothing"


def test_the_sysctls_of_a_killed_run_are_restored_by_the_next(kernel: Path) -> None:
    """The changed values that the next run finds are not the host's own."""
    sysctls.change(nodes=True)
    sysctls.change(nodes=False)
    assert sysctls.restore() == []
    assert sysctls.read() == OWN


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_damaged_record_of_sysctls_does_not_prevent_the_removal(kernel: Path, text: str) -> None:
    sysctls.change(nodes=False)
    sysctls.RECORD.write_text(text)
    assert sysctls.restore() == []
    assert not sysctls.RECORD.exists()


def test_sysctls_that_cannot_be_restored_stay_recorded(kernel: Path) -> None:
    sysctls.change(nodes=True)
    (kernel / "proc/kernel/panic").unlink()
    (kernel / "proc/kernel/panic").mkdir()
    assert sysctls.restore() == ["kernel.panic"]
    assert sysctls.read() == {name: value for name, value in OWN.items() if name != "kernel.panic"}
    (kernel / "proc/kernel/panic").rmdir()
    (kernel / "proc/kernel/panic").write_text("10\n")
    assert sysctls.restore() == []
    assert sysctls.read() == OWN


@pytest.fixture
def run_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A separate directory of the test for lock and record."""
    monkeypatch.setattr(lab_state.names, "RUN", tmp_path)
    monkeypatch.setattr(lab_state, "LOCK_FILE", tmp_path / "lab.lock")
    monkeypatch.setattr(lab_state, "STATE_FILE", tmp_path / "lab.json")
    return tmp_path


def test_a_held_lock_names_its_holder(run_directory: Path) -> None:
    """The error has the holder's command, process and start. The lock is free again when the holder has ended."""
    with lab_state.lock("lab up"):
        with pytest.raises(Locked, match=rf"`lab up`.*process {os.getpid()}, since 20"):
            with lab_state.lock("lab down"):
                pytest.fail("two processes hold the lock")
    with lab_state.lock("lab down"):
        pass
    assert (run_directory / "lab.lock").exists()


def test_a_killed_holder_leaves_the_lock_free(run_directory: Path) -> None:
    """The kernel frees the lock, even if the file still names the holder."""
    context = multiprocessing.get_context("fork")
    locked = context.Event()

    def hold() -> None:
        with lab_state.lock("lab up"):
            locked.set()
            context.Event().wait()

    holder = context.Process(target=hold)
    holder.start()
    assert locked.wait(10)
    with pytest.raises(Locked):
        lab_state.lock("lab up").__enter__()
    holder.kill()
    holder.join()
    with lab_state.lock("lab up"):
        pass


@pytest.mark.parametrize("text", ["", "{", '{"instance": "x"}', "[]", '{"instance":1,"loops":3}'])
def test_a_damaged_record_is_ignored(run_directory: Path, text: str) -> None:
    """`down` then finds everything by names alone."""
    (run_directory / "lab.json").write_text(text)
    assert lab_state.read() is None


def test_a_record_of_an_earlier_boot_is_ignored(run_directory: Path) -> None:
    """The objects that it names disappeared with that boot."""
    state = lab_state.LabState(
        instance="i", checkout="c", home="h", digest="d", image="m", since="s", boot=lab_state.boot()
    )
    lab_state.write(state)
    assert lab_state.read() == state
    lab_state.write(
        lab_state.LabState(instance="i", checkout="c", home="h", digest="d", image="m", since="s", boot="earlier")
    )
    assert lab_state.read() is None


def test_other_hosts_keys_stay_in_known_hosts(tmp_path: Path) -> None:
    """They stay when the lab starts and when it is removed. The operator's own key is created once."""
    access = Access(key=tmp_path / "ssh/id_ed25519", known_hosts=tmp_path / "ssh/known_hosts")
    first = ssh_keys.operator_key(access)
    assert ssh_keys.operator_key(access) == first
    assert access.key.stat().st_mode & 0o777 == 0o600
    access.known_hosts.write_text("192.0.2.9 ssh-ed25519 REAL\n10.127.0.11 ssh-ed25519 OLD\n")
    ssh_keys.trust_hosts(access, {"10.127.0.11": "ssh-ed25519 NEW futian-edge1"})
    assert access.known_hosts.read_text() == "192.0.2.9 ssh-ed25519 REAL\n10.127.0.11 ssh-ed25519 NEW\n"
    ssh_keys.forget_hosts(access, {"10.127.0.11"})
    assert access.known_hosts.read_text() == "192.0.2.9 ssh-ed25519 REAL\n"


def test_owners_are_those_of_the_image(tmp_path: Path) -> None:
    """The numbers come from the image's tables, never from the host's."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nfrr:x:105:109::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nfrr:x:109:\n")
    file = File(path="/etc/frr/frr.conf", text="!\n", owner="frr", group="frr", mode="0640")
    assert on_disk(file, tmp_path) == (b"!\n", 0o640, 105, 109)
