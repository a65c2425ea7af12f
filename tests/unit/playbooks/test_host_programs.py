"""The decisions of the programs that run on hosts."""

import ast
import sys
from pathlib import Path

import pytest

from playbooks import host_programs
from playbooks.host_programs import cgroups_prepare, database_bootstrap, etcd_join, etcd_prefer, promotion_guard, rejoin

PEER = "https://10.64.1.21:2380"


@pytest.mark.parametrize("path", sorted(Path(host_programs.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_programs_import_only_the_standard_library(path: Path) -> None:
    allowed = sys.stdlib_module_names | ({"ansible"} if path.stem == "managed" else set())
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 11))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in allowed for name in names), names


# --- cgroups_prepare -----------------------------------------------------------------------------------------------

MOUNTS = """\
31 25 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
32 31 0:28 / /sys/fs/cgroup/cpuset ro,nosuid - cgroup cgroup rw,cpuset
33 31 0:29 / /sys/fs/cgroup/systemd rw,nosuid shared:5 - cgroup cgroup rw,name=systemd
34 31 0:30 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup rw
"""


def test_hierarchies_are_found_with_their_access_mode() -> None:
    assert [(path.name, *rest) for path, *rest in cgroups_prepare.hierarchies(MOUNTS)] == [
        ("cpuset", False, "cgroup"),
        ("systemd", True, "cgroup"),
        ("unified", True, "cgroup2"),
    ]


def test_the_group_for_pods_inherits_processors_and_loses_groups_of_dead_pods(tmp_path: Path) -> None:
    for name, text in (("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")):
        (tmp_path / name).write_text(text)
    dead, alive = tmp_path / "kubernetes-a/kubepods/pod1/gone", tmp_path / "kubernetes-a/kubepods/pod2/alive"
    for group in (dead, alive):
        group.mkdir(parents=True)
    (alive / "task").touch()  # the kernel refuses to remove a group with a task, like rmdir a folder with a file
    (tmp_path / "kubernetes-a/cpuset.cpus").write_text("\n")
    cgroups_prepare.prepare(tmp_path, "/kubernetes-a", True)
    assert not dead.parent.exists()
    assert alive.exists()
    assert (tmp_path / "kubernetes-a/cpuset.cpus").read_text() == "0-1\n"


# --- etcd_join -----------------------------------------------------------------------------------------------------


def member(name: str = "a", url: str = PEER, clients: bool = True) -> dict[str, object]:
    """Return an entry of etcd's member list."""
    return {"ID": 42, "name": name, "peerURLs": [url], **({"clientURLs": ["https://x:2379"]} if clients else {})}


def test_the_first_start_creates_the_cluster() -> None:
    assert etcd_join.decide(None, PEER, was_member=False) == ("new", None, False)
    assert etcd_join.decide([member(clients=False)], PEER, was_member=False) == ("new", None, False)


def test_a_member_with_a_lost_disk_leaves_and_joins_again() -> None:
    assert etcd_join.decide([member()], PEER, was_member=True) == ("existing", 42, True)


def test_a_host_that_was_removed_joins() -> None:
    assert etcd_join.decide([member(url="https://other:2380")], PEER, was_member=True) == ("existing", None, True)


def test_a_start_that_died_after_joining_continues() -> None:
    assert etcd_join.decide([member(name="", clients=False)], PEER, was_member=True) == ("existing", None, False)


def test_a_lost_disk_without_any_answer_waits_instead_of_creating_a_second_cluster() -> None:
    with pytest.raises(etcd_join.Refused, match="no other member answers"):
        etcd_join.decide(None, PEER, was_member=True)


def test_the_cluster_to_join_names_present_members_and_ourselves() -> None:
    present = [
        member("b", "https://b:2380"),
        member("", "https://c:2380", clients=False),
        member("", PEER, clients=False),
    ]
    declared = f"a={PEER},b=https://b:2380,c=https://c:2380,d=https://d:2380"
    assert etcd_join.initial_cluster(present, PEER, "a", declared) == f"a={PEER},b=https://b:2380,c=https://c:2380"


# --- etcd_prefer ---------------------------------------------------------------------------------------------------


def status(own: int = 1, leader: int = 2, index: int = 100, applied: int = 100, **more: object) -> dict[str, object]:
    """Return an endpoint's status."""
    return {
        "header": {"member_id": own},
        "leader": leader,
        "raftTerm": 5,
        "raftIndex": index,
        "raftAppliedIndex": applied,
        **more,
    }


SEEN = {"leader": 2, "term": 5, "moves": []}


def test_leadership_moves_at_the_second_observation_of_the_same_leader() -> None:
    assert etcd_prefer.decide(status(), status(own=2), {}, 1000.0) == (False, SEEN)
    assert etcd_prefer.decide(status(), status(own=2), SEEN, 1000.0) == (True, {**SEEN, "moves": [1000.0]})


@pytest.mark.parametrize(
    ("own", "leader", "memory"),
    [
        (status(leader=1), status(own=1), SEEN),
        (status(leader=0), None, SEEN),
        (status(), None, SEEN),
        (status(), status(own=2), {**SEEN, "term": 4}),
        (status(isLearner=True), status(own=2), SEEN),
        (status(errors=["NOSPACE"]), status(own=2), SEEN),
        (status(applied=100), status(own=2, index=500), SEEN),
        (status(), status(own=2), {**SEEN, "moves": [990.0, 991.0, 992.0]}),
    ],
    ids=["own", "none", "unreachable", "new term", "learner", "alarm", "behind", "too often"],
)
def test_leadership_stays(own: dict[str, object], leader: dict[str, object] | None, memory: dict[str, object]) -> None:
    assert etcd_prefer.decide(own, leader, memory, 1000.0)[0] is False


def test_moves_are_forgotten_after_a_while() -> None:
    assert etcd_prefer.decide(status(), status(own=2), {**SEEN, "moves": [1.0, 2.0, 3.0]}, 1000.0)[0] is True


# --- promotion_guard -----------------------------------------------------------------------------------------------


def standby(position: int, timeline: int = 3, **more: object) -> dict[str, object]:
    """Return the status that a member's Patroni reports."""
    return {
        "role": "replica",
        "state": "running",
        "timeline": timeline,
        "xlog": {"received_location": position},
        **more,
    }


def verdict(others: dict[str, object], waited_s: float = 0.0, token: object = None) -> tuple[int | None, str]:
    """Return the verdict of a remote member at position 100 on timeline 3."""
    return promotion_guard.verdict(standby(100), others, token, waited_s, wait_s=15, silent_s=5)  # type: ignore[no-any-return]


def test_the_guard_waits_while_the_other_city_is_behind() -> None:
    assert verdict({"b": standby(99)}) == (None, "")
    assert verdict({"b": standby(500, timeline=2)}) == (None, "")


def test_the_guard_gives_up_once_the_other_city_has_everything() -> None:
    code, why = verdict({"a": None, "b": standby(100)})
    assert code == 1
    assert "b holds everything" in why


@pytest.mark.parametrize("others", [{"a": None, "b": None}, {"a": None, "b": standby(99, state="starting")}])
def test_the_guard_never_promotes_the_remote_member_because_the_city_sites_are_silent(
    others: dict[str, object],
) -> None:
    assert verdict(others, waited_s=4.9) == (None, "")
    assert verdict(others, waited_s=5.0)[0] == 1


def test_the_guard_ends_in_time() -> None:
    assert verdict({"b": standby(99)}, waited_s=15)[0] == 1


def test_a_member_that_calls_itself_primary_is_no_standby_that_caught_up() -> None:
    assert verdict({"b": standby(200, role="primary")}) == (None, "")


def test_only_an_operators_token_for_this_timeline_allows_promotion() -> None:
    token = {"timeline": 3, "by": "zhang wei", "reason": "both city sites are flooded"}
    assert verdict({"a": None, "b": None}, token=token)[0] == 0
    for wrong in ({**token, "timeline": 2}, {**token, "by": ""}, {"timeline": 3}, ["timeline", 3], None):
        assert verdict({"a": None, "b": None}, waited_s=9, token=wrong)[0] == 1


def test_a_position_is_the_last_byte_that_a_member_has() -> None:
    assert promotion_guard.position({"xlog": {"received_location": 5, "replayed_location": 9}}) == 9
    assert promotion_guard.position({}) == promotion_guard.position(None) == 0


# --- rejoin --------------------------------------------------------------------------------------------------------

HISTORY = "1\t0/3000110\tno recovery target specified\n\n2\t0/50000A0\tno recovery target specified\n"


def test_the_fork_is_where_the_leader_left_our_timeline() -> None:
    assert rejoin.fork_of(HISTORY, 1) == 0x3000110
    assert rejoin.fork_of(HISTORY, 2) == 0x50000A0
    assert rejoin.fork_of(HISTORY, 4) is None


def test_segments_from_the_fork_on_are_kept_and_others_not() -> None:
    names = [
        "000000010000000000000002",
        "000000010000000000000003",
        "000000010000000000000004",
        "000000020000000000000004",
        "00000002.history",
        "000000010000000000000004.00000028.backup",
        "archive_status",
    ]
    kept = ["000000010000000000000003", "000000010000000000000004"]
    assert rejoin.segments(names, 1, 0x3000110, 16 * 1024 * 1024) == kept
    assert rejoin.newest_timeline(names) == 2
    assert rejoin.newest_timeline(["archive_status"]) is None


def test_a_position_reads_as_it_is_written() -> None:
    assert rejoin.lsn_text(rejoin.lsn("1A/2B3C4D5E")) == "1A/2B3C4D5E"


class Arguments:
    """The arguments that Patroni passes, for a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.datadir, self.aside, self.kept = str(root / "15"), str(root / "aside"), str(root / "kept")
        self.member, self.bindir, self.connstring = "a", "/nonexistent", ""


def test_a_data_directory_is_renamed_and_never_removed_in_place(tmp_path: Path) -> None:
    arguments = Arguments(tmp_path)
    for content in ("first", "second"):
        Path(arguments.datadir).mkdir()
        (Path(arguments.datadir) / "PG_VERSION").write_text(content)
        rejoin.set_aside(arguments)
        assert not Path(arguments.datadir).exists()
    assert sorted(path.read_text() for path in Path(arguments.aside).glob("*/PG_VERSION")) == ["first", "second"]


def test_without_the_leaders_answer_all_renamed_directories_stay(tmp_path: Path) -> None:
    arguments = Arguments(tmp_path)
    wal = tmp_path / "aside" / "then" / "pg_wal"
    wal.mkdir(parents=True)
    (wal / "000000010000000000000003").write_bytes(b"wal")
    with pytest.raises((rejoin.CannotKeep, OSError)):
        rejoin.settle(arguments)
    assert (wal / "000000010000000000000003").read_bytes() == b"wal"


def test_an_interrupted_move_of_a_fork_is_finished_at_the_next_call(tmp_path: Path) -> None:
    arguments = Arguments(tmp_path)
    wal, target = tmp_path / "aside" / "then" / "pg_wal", tmp_path / "kept" / "then"
    wal.mkdir(parents=True)
    target.mkdir(parents=True)
    (target / "000000010000000000000003").write_bytes(b"moved")
    (wal / "000000010000000000000004").write_bytes(b"waiting")
    (target / rejoin.UNFINISHED).write_text('{"files": ["000000010000000000000003", "000000010000000000000004"]}')
    rejoin.settle(arguments)
    assert sorted(path.name for path in target.iterdir()) == [
        "000000010000000000000003",
        "000000010000000000000004",
        rejoin.REPORT,
    ]
    assert not (tmp_path / "aside" / "then").exists()


# --- database_bootstrap -----------------------------------------------------------------------------------------------


def test_only_different_settings_are_changed() -> None:
    actual = {"ttl": 30, "loop_wait": 1, "postgresql": {"parameters": {"max_connections": 100, "work_mem": "4MB"}}}
    wanted = {"ttl": 20, "loop_wait": 1, "postgresql": {"parameters": {"max_connections": 100}, "use_slots": True}}
    assert database_bootstrap.differences(wanted, actual) == {"ttl": 20, "postgresql": {"use_slots": True}}
    assert database_bootstrap.differences(wanted, {**wanted, "more": 1}) == {}
    assert database_bootstrap.differences(wanted, {**wanted, "ttl": "20"}) == {}
    assert database_bootstrap.differences(wanted, {**wanted, "postgresql": "none"}) == {
        "postgresql": wanted["postgresql"]
    }


class Patroni:
    """A fake member: its answers by path, as its REST API gives them."""

    def __init__(self, **answers: object) -> None:
        self.answers = {f"/{name}": answer for name, answer in answers.items()}

    def call(self, path: str) -> object:
        return self.answers.get(path)


PRIMARY = {"role": "primary", "state": "running"}
DYNAMIC = {"dynamic": {"ttl": 20, "postgresql": {"use_slots": True, "parameters": {"wal_level": "replica"}}}}


def test_manually_changed_settings_are_reported_with_both_values() -> None:
    """Settings that an engineer has added are ignored. Declared settings must have their declared values."""
    config = {"ttl": 60, "pause": True, "postgresql": {"use_slots": True, "parameters": None}}
    assert database_bootstrap.compared(DYNAMIC, Patroni(patroni=PRIMARY, config=config)) == [
        {"name": "Patroni's postgresql.parameters.wal_level", "wanted": "replica", "actual": None},
        {"name": "Patroni's ttl", "wanted": 20, "actual": 60},
    ]


@pytest.mark.parametrize(
    "member",
    [
        Patroni(patroni=PRIMARY, config=DYNAMIC["dynamic"]),
        Patroni(patroni={"role": "replica", "state": "streaming"}, config={"ttl": 60}),
        Patroni(patroni=PRIMARY),
        Patroni(),
    ],
    ids=["as declared", "a standby leaves it to the primary", "no settings", "no Patroni"],
)
def test_no_difference_is_reported_without_a_known_difference(member: Patroni) -> None:
    assert database_bootstrap.compared(DYNAMIC, member) == []


@pytest.mark.parametrize(
    ("answer", "role"),
    [
        ({"role": "primary", "state": "running"}, "primary"),
        ({"role": "replica", "state": "running", "replication_state": "streaming"}, "standby"),
        ({"role": "replica", "state": "running", "replication_state": "in archive recovery"}, None),
        ({"role": "primary", "state": "starting"}, None),
        (None, None),
    ],
)
def test_a_member_serves_if_it_is_primary_or_streaming(answer: dict[str, str] | None, role: str | None) -> None:
    assert database_bootstrap.healthy(answer) == role
