"""Half a file is never taken for a state: the newest whole copy takes its place, and nothing is begun without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from estate.loader import load
from stacks.providers import playbook
from stacks.providers.resource import Call, ResourceFailed
from stacks.runs import workspace
from stacks.state import checkpoints, disk_reserve, state_backup, state_files, store
from stacks.state.checkpoints import TruncatedCheckpoint
from workstation.errors import GovcloudError
from workstation.ssh import Access

STACK = "network"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    workspace.prepare()


def content(second: int, *names: str) -> bytes:
    """A checkpoint as the engine writes it, saved in that second of a minute."""
    latest = {
        "manifest": {"time": f"2026-11-23T18:14:{second:02}.606277724Z"},
        "resources": [{"urn": name} for name in names],
    }
    return json.dumps({"version": 3, "checkpoint": {"stack": STACK, "latest": latest}}).encode()


def write(path: Path, text: bytes) -> None:
    """With its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def files() -> dict[str, Path]:
    """Where an earlier state may be."""
    root = state_files.state_home() / ".pulumi"
    return {
        "kept": checkpoints.backup_path(STACK),
        "bak": root / "stacks" / "govcloud" / f"{STACK}.json.bak",
        "history": root / "history" / "govcloud" / STACK / f"{STACK}-1.checkpoint.json",
        "backups": root / "backups" / "govcloud" / STACK / f"{STACK}.1.json",
    }


def test_no_beginning_of_a_checkpoint_is_whole() -> None:
    """At any length: an empty file, half a word, all but the last brace."""
    whole = content(1, "a", "b")
    assert checkpoints.saved_at(whole) is not None
    assert [length for length in range(len(whole)) if checkpoints.saved_at(whole[:length])] == []


@pytest.mark.parametrize("newest", ["kept", "bak", "history", "backups"])
def test_the_newest_whole_copy_is_taken_whichever_it_is(newest: str) -> None:
    """By the engine's own time in it, not the file's; it is told which, and the half file stays to be looked at."""
    write(state_files.checkpoint(STACK), content(9, "half")[:40])
    for name, path in files().items():
        write(path, content(5, "newest") if name == newest else content(3, "old"))
    said: list[str] = []
    checkpoints.repair(STACK, said.append)
    assert store.resources(STACK) == [{"urn": "newest"}]
    assert str(files()[newest]) in said[0]
    assert "2026-11-23 18:14:05 UTC" in said[0]
    assert checkpoints.truncated_path(STACK).read_bytes() == content(9, "half")[:40]


def test_a_half_copy_is_passed_over() -> None:
    """The backend makes its `.bak` of the half file at its next write."""
    write(state_files.checkpoint(STACK), b"")
    write(files()["bak"], content(8, "x")[:-1])
    write(files()["kept"], content(2, "kept"))
    checkpoints.repair(STACK, lambda line: None)
    assert store.resources(STACK) == [{"urn": "kept"}]


def test_a_whole_state_is_left_alone() -> None:
    """Also where a copy says that it is newer."""
    write(state_files.checkpoint(STACK), content(1, "now"))
    write(files()["kept"], content(5, "kept"))
    checkpoints.repair(STACK, lambda line: pytest.fail(line))
    assert store.resources(STACK) == [{"urn": "now"}]


def test_where_nothing_is_whole_any_more_nothing_is_made_anew() -> None:
    """New passwords would lock out hosts in use: the copies on the operations hosts are named."""
    write(state_files.checkpoint(STACK), b"{")
    write(files()["kept"], b"")
    with pytest.raises(TruncatedCheckpoint, match="state restore --from"):
        checkpoints.repair(STACK, lambda line: None)
    assert state_files.checkpoint(STACK).read_bytes() == b"{"


def test_a_stack_that_was_being_made_is_made_anew() -> None:
    """Nothing was kept of it, so no host has got anything of it."""
    write(state_files.checkpoint(STACK), b"{")
    said: list[str] = []
    checkpoints.repair(STACK, said.append)
    assert not state_files.checkpoint(STACK).exists()
    assert "begins anew" in said[0]


def test_half_a_file_is_neither_read_as_an_empty_stack_nor_copied_away() -> None:
    """A plan is refused with the way out; of the states it counts as lost, so an operations host's copy is named."""
    write(state_files.checkpoint(STACK), content(1, "a")[:-2])
    with pytest.raises(TruncatedCheckpoint, match="half a file") as refused:
        store.resources(STACK)
    assert "./govcloud up" in refused.value.next_step
    with pytest.raises(TruncatedCheckpoint):
        state_backup.back_up(load(), Access.default(), lambda line: None)
    mine = state_backup.local_metadata(load())
    assert mine is None or STACK not in mine.resources


@pytest.mark.parametrize("half", [True, False])
def test_no_host_is_begun_before_what_it_gets_is_kept(half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its passwords stand in a whole file on the disk by then."""
    applied = list[bytes]()
    monkeypatch.setattr(playbook, "plain_map", lambda news: news)
    monkeypatch.setattr(
        playbook, "_apply", lambda values, call: applied.append(checkpoints.backup_path(STACK).read_bytes())
    )
    text = content(1, "password")[: -1 if half else None]
    write(state_files.checkpoint(STACK), text)
    call = Call(name="x", stack=STACK, preview=False, timeout_s=0, say=lambda line: None)
    begin = playbook.Playbook()._apply({"host": "futian-edge1"}, call)  # type: ignore[dict-item]
    if half:
        with pytest.raises(ResourceFailed, match="futian-edge1: not begun"):
            asyncio.run(begin)
    else:
        asyncio.run(begin)
    assert applied == ([] if half else [text])


def test_a_run_without_room_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells how much is missing where, and leaves nothing."""
    monkeypatch.setattr(disk_reserve, "MIN_BYTES", disk_reserve.free() + (1 << 30))
    with pytest.raises(GovcloudError, match="too full to begin") as refused, disk_reserve.reserved(pytest.fail):
        pytest.fail("must not begin")
    assert str(state_files.state_home()) in refused.value.message
    assert "make room" in refused.value.next_step
    assert not list(state_files.state_home().glob(".reserve"))


def test_the_reserve_is_real_and_ends_with_the_run() -> None:
    """Blocks on the disk, not a hole."""
    with disk_reserve.reserved(pytest.fail):
        reserve = state_files.state_home() / ".reserve"
        assert reserve.stat().st_blocks * 512 >= disk_reserve.MIN_BYTES
    assert not reserve.exists()
