"""What the lab reads of its host and keeps about itself."""

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
    """Control group hierarchies as directories."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cgroup.procs").write_text("")


def unified(root: Path, root_hands_down: str) -> cgroups.Layout:
    """The one hierarchy of version 2, as directories."""
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / "cgroup.subtree_control").write_text(root_hands_down)
    (root / "govcloud").mkdir()
    (root / "govcloud/cgroup.subtree_control").write_text("")
    return cgroups.detect(root)


def test_v1_and_hybrid_hosts_use_the_named_hierarchies(tmp_path: Path) -> None:
    """Machines share the processors, the world outside has more than enough of them; what needs a real-time
    budget stays out of that hierarchy."""
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


def test_v2_hosts_have_one_hierarchy_with_accounting_handed_down(tmp_path: Path) -> None:
    """Memory and processes, where the root has them."""
    layout = unified(tmp_path, root_hands_down="cpu memory")
    assert layout.unified
    layout = cgroups.without_processors(layout)
    assert cgroups.create(layout, "futian-data1") == [tmp_path / "govcloud/futian-data1"]
    assert (tmp_path / "govcloud/cgroup.subtree_control").read_text() == "+memory"


@pytest.mark.parametrize(("shares", "weight"), [(1024, "100"), (2048, "200"), (8192, "800")])
def test_a_machines_part_of_the_processors_is_the_same_in_both_versions(shares: int, weight: str) -> None:
    """The kernel's default is 1024 in one and 100 in the other."""
    assert cgroups.setting(shares, unified=False) == ("cpu.shares", str(shares))
    assert cgroups.setting(shares, unified=True) == ("cpu.weight", weight)


@pytest.mark.parametrize(("cpus", "shares"), [(0.01, 256), (1, 1024), (2, 2048), (64, 4096)])
def test_a_machine_weighs_as_many_processors_as_it_has_in_the_estate(cpus: float, shares: int) -> None:
    """Within bounds: the applicant, outside, is never short of them."""
    assert cgroups.weight(cpus) == shares


def test_v2_machines_share_the_processors(tmp_path: Path) -> None:
    """Where the root does not share them yet it is told to, and that is taken back with the lab."""
    layout = unified(tmp_path, root_hands_down="memory pids")
    assert not cgroups.shares_processors(layout)
    cgroups.create(layout, "futian-data1")
    cgroups.create(layout, "citizen1", weight=cgroups.PEER_MACHINE)
    handed_down = [(folder / "cgroup.subtree_control").read_text() for folder in (tmp_path, tmp_path / "govcloud")]
    assert handed_down == ["+cpu", "+cpu"]
    weights = [(tmp_path / "govcloud" / host / "cpu.weight").read_text() for host in ("", "futian-data1", "citizen1")]
    assert weights == ["200", "100", "800"]
    cgroups.stop_sharing_processors(layout)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "-cpu"


def test_v2_hosts_that_share_the_processors_already_go_on_to(tmp_path: Path) -> None:
    layout = unified(tmp_path, root_hands_down="cpu")
    assert cgroups.shares_processors(layout)
    cgroups.create(layout, "futian-data1")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "cpu"


def test_v2_wires_hand_nothing_down_and_a_root_that_cannot_is_no_failure(tmp_path: Path) -> None:
    """The wires are started first: a kernel with real-time groups lets none be made beside them."""
    layout = unified(tmp_path, root_hands_down="memory")
    cgroups.create(cgroups.without_processors(layout), "wires")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "memory"
    assert not (tmp_path / "govcloud/cpu.weight").exists()
    (tmp_path / "cgroup.subtree_control").write_text("cpu")
    (tmp_path / "govcloud/cgroup.subtree_control").unlink()  # reading it fails, as writing it would
    assert cgroups.create(layout, "futian-data1") == [tmp_path / "govcloud/futian-data1"]
    assert not (tmp_path / "govcloud/futian-data1/cpu.weight").exists()


def test_members_are_those_of_the_asked_machines_and_of_groups_below(tmp_path: Path) -> None:
    """As systemd in a machine makes groups of its own."""
    (tmp_path / "cgroup.controllers").write_text("")
    hierarchy(tmp_path, "govcloud/a/payload", "govcloud/b")
    (tmp_path / "govcloud/a/payload/cgroup.procs").write_text("11\n12\n")
    (tmp_path / "govcloud/b/cgroup.procs").write_text("21\n")
    layout = cgroups.detect(tmp_path)
    assert cgroups.members(layout, ["a"]) == {11, 12}
    assert cgroups.members(layout) == {11, 12, 21}


def test_memory_is_read_in_both_versions(tmp_path: Path) -> None:
    """`anon` in v2, `total_rss` in v1; None where it is not accounted."""
    (tmp_path / "cgroup.controllers").write_text("")
    hierarchy(tmp_path, "govcloud/a", "govcloud/b", "govcloud/c")
    (tmp_path / "govcloud/a/memory.stat").write_text("anon 1048576\nfile 99\n")
    (tmp_path / "govcloud/b/memory.stat").write_text("cache 5\ntotal_rss 2097152\n")
    layout = cgroups.detect(tmp_path)
    assert [cgroups.memory_bytes(layout, host) for host in "abc"] == [1048576, 2097152, None]


def test_a_nodes_pods_count_as_the_machines_own(tmp_path: Path) -> None:
    """Version 1 keeps them beside its group: their memory and their processes are the machine's."""
    hierarchy(tmp_path, "memory", "memory/govcloud/a", "memory/kubernetes-a/kubepods/one", "memory/kubernetes-b")
    (tmp_path / "memory/govcloud/a/memory.stat").write_text("total_rss 100\n")
    (tmp_path / "memory/kubernetes-a/memory.stat").write_text("total_rss 7\n")
    (tmp_path / "memory/govcloud/a/cgroup.procs").write_text("11\n")
    (tmp_path / "memory/kubernetes-a/kubepods/one/cgroup.procs").write_text("12\n")
    (tmp_path / "memory/kubernetes-b/cgroup.procs").write_text("13\n")
    layout = cgroups.detect(tmp_path)
    assert cgroups.memory_bytes(layout, "a") == 107
    assert cgroups.members(layout, ["a"]) == {11, 12}
    assert cgroups.members(layout) == {11}  # a node that is not the lab's is not ended with the lab


def test_the_groups_of_a_node_that_runs_are_left_alone(tmp_path: Path) -> None:
    """They are empty between two pods, and its kubelet counts on them."""
    for path in ("memory/kubernetes-dead/kubepods/one", "cpu/kubernetes-dead", "memory/kubernetes-alive/kubepods"):
        (tmp_path / path).mkdir(parents=True)
    cgroups.remove_nodes({"alive"}, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["kubernetes-alive"]
    assert (tmp_path / "memory/kubernetes-alive/kubepods").is_dir()


def test_the_mount_table_is_read_with_its_escapes() -> None:
    """This process's root is in it."""
    assert Path("/") in {mount.where for mount in mounts.table()}


def test_only_disks_named_by_the_lab_are_the_labs() -> None:
    """Other loop devices of the host are nobody's business."""
    assert mounts.is_lab_disk(Path("/x/lab/disks/govcloud-futian-data1.disk"))
    assert not mounts.is_lab_disk(Path("/x/images/govcloud.iso"))


def test_sysctls_that_a_kernel_lacks_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is too small is raised, what is large enough stays, and all goes back."""
    monkeypatch.setattr(sysctls, "PROC", tmp_path)
    few, many = tmp_path / "fs/inotify/max_user_instances", tmp_path / "kernel/pid_max"
    for path, value in ((few, "128"), (many, "4194304")):
        path.parent.mkdir(parents=True)
        path.write_text(f"{value}\n")
    before = sysctls.read()
    sysctls.raise_to_minimums()
    assert (few.read_text().strip(), many.read_text().strip()) == ("8192", "4194304")
    assert sysctls.restore(before) == []
    assert few.read_text().strip() == "128"


@pytest.fixture
def run_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Lock and record in a directory of the test's own."""
    monkeypatch.setattr(lab_state.names, "RUN", tmp_path)
    monkeypatch.setattr(lab_state, "LOCK_FILE", tmp_path / "lab.lock")
    monkeypatch.setattr(lab_state, "STATE_FILE", tmp_path / "lab.json")
    return tmp_path


def test_a_held_lock_names_its_holder(run_directory: Path) -> None:
    """Checkout, process and start; free again when the holder has ended."""
    with lab_state.lock("lab up"):
        with pytest.raises(Locked, match=rf"`lab up`.*process {os.getpid()}, since 20"):
            with lab_state.lock("lab down"):
                pytest.fail("two hold it")
    with lab_state.lock("lab down"):
        pass
    assert (run_directory / "lab.lock").exists()


def test_a_killed_holder_leaves_the_lock_free(run_directory: Path) -> None:
    """The kernel gives it back, whatever the file says."""
    context = multiprocessing.get_context("fork")
    holds = context.Event()

    def hold() -> None:
        with lab_state.lock("lab up"):
            holds.set()
            context.Event().wait()

    holder = context.Process(target=hold)
    holder.start()
    assert holds.wait(10)
    with pytest.raises(Locked):
        lab_state.lock("lab up").__enter__()
    holder.kill()
    holder.join()
    with lab_state.lock("lab up"):
        pass


@pytest.mark.parametrize("text", ["", "{", '{"instance": "x"}', "[]", '{"instance":1,"loops":3,"sysctls":4}'])
def test_a_damaged_record_is_no_record(run_directory: Path, text: str) -> None:
    """`down` then works by names alone."""
    (run_directory / "lab.json").write_text(text)
    assert lab_state.read() is None


def test_a_record_of_an_earlier_boot_says_nothing(run_directory: Path) -> None:
    """What it names is gone with that boot."""
    noted = lab_state.LabState(
        instance="i", checkout="c", home="h", digest="d", image="m", since="s", boot=lab_state.boot()
    )
    lab_state.write(noted)
    assert lab_state.read() == noted
    lab_state.write(
        lab_state.LabState(instance="i", checkout="c", home="h", digest="d", image="m", since="s", boot="earlier")
    )
    assert lab_state.read() is None


def test_the_labs_keys_leave_other_hosts_keys_alone(tmp_path: Path) -> None:
    """In known_hosts, when the lab comes and when it goes; the operator's own key is made once."""
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
    """Numbers come from the image's tables, never from the host's."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nfrr:x:105:109::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nfrr:x:109:\n")
    file = File(path="/etc/frr/frr.conf", text="!\n", owner="frr", group="frr", mode="0640")
    assert on_disk(file, tmp_path) == (b"!\n", 0o640, 105, 109)
