"""A truncated checkpoint is never used: the newest intact backup replaces it, and no host is changed without a
backup.
"""

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
    """A checkpoint as the engine writes it, saved in the given second of a minute."""
    latest = {
        "manifest": {"time": f"2026-11-23T18:14:{second:02}.606277724Z"},
        "resources": [{"urn": name} for name in names],
    }
    return json.dumps({"version": 3, "checkpoint": {"stack": STACK, "latest": latest}}).encode()


def write(path: Path, text: bytes) -> None:
    """Write a file and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def files() -> dict[str, Path]:
    """Paths that may contain an earlier state."""
    root = state_files.state_home() / ".pulumi"
    return {
        "kept": checkpoints.backup_path(STACK),
        "bak": root / "stacks" / "govcloud" / f"{STACK}.json.bak",
        "history": root / "history" / "govcloud" / STACK / f"{STACK}-1.checkpoint.json",
        "backups": root / "backups" / "govcloud" / STACK / f"{STACK}.1.json",
    }


def test_a_truncated_checkpoint_is_recognised_at_any_length() -> None:
    """Also an empty file, half a word, and all but the last brace."""
    intact = content(1, "a", "b")
    assert checkpoints.saved_at(intact) is not None
    assert [length for length in range(len(intact)) if checkpoints.saved_at(intact[:length])] == []


@pytest.mark.parametrize("newest", ["kept", "bak", "history", "backups"])
def test_repair_restores_the_newest_intact_backup(newest: str) -> None:
    """The engine's time in the backup counts, not the file's time. The truncated file stays for examination."""
    write(state_files.checkpoint(STACK), content(9, "half")[:40])
    for name, path in files().items():
        write(path, content(5, "newest") if name == newest else content(3, "old"))
    said: list[str] = []
    checkpoints.repair(STACK, said.append)
    assert store.resources(STACK) == [{"urn": "newest"}]
    assert str(files()[newest]) in said[0]
    assert "2026-11-23 18:14:05 UTC" in said[0]
    assert checkpoints.truncated_path(STACK).read_bytes() == content(9, "half")[:40]


def test_a_truncated_backup_is_ignored() -> None:
    """At its next write the backend makes its `.bak` from the truncated file."""
    write(state_files.checkpoint(STACK), b"")
    write(files()["bak"], content(8, "x")[:-1])
    write(files()["kept"], content(2, "kept"))
    checkpoints.repair(STACK, lambda line: None)
    assert store.resources(STACK) == [{"urn": "kept"}]


def test_an_intact_state_is_not_replaced() -> None:
    """Not even by a backup with a later time."""
    write(state_files.checkpoint(STACK), content(1, "now"))
    write(files()["kept"], content(5, "kept"))
    checkpoints.repair(STACK, lambda line: pytest.fail(line))
    assert store.resources(STACK) == [{"urn": "now"}]


def test_repair_refuses_if_all_backups_are_truncated() -> None:
    """New passwords would lock the operator out of hosts in use. The error names the operations hosts' backups."""
    write(state_files.checkpoint(STACK), b"{")
    write(files()["kept"], b"")
    with pytest.raises(TruncatedCheckpoint, match="state restore --from"):
        checkpoints.repair(STACK, lambda line: None)
    assert state_files.checkpoint(STACK).read_bytes() == b"{"


def test_a_stack_without_any_backup_starts_again() -> None:
    """The stack was just being created, so no host has received anything from it."""
    write(state_files.checkpoint(STACK), b"{")
    said: list[str] = []
    checkpoints.repair(STACK, said.append)
    assert not state_files.checkpoint(STACK).exists()
    assert "starts again, empty" in said[0]


def test_a_truncated_state_is_not_read_as_empty_and_not_backed_up() -> None:
    """A plan is refused with the next step. The stack counts as lost in the metadata, so the refusal names a backup."""
    write(state_files.checkpoint(STACK), content(1, "a")[:-2])
    with pytest.raises(TruncatedCheckpoint, match="is truncated") as refused:
        store.resources(STACK)
    assert "./govcloud up" in refused.value.next_step
    with pytest.raises(TruncatedCheckpoint):
        state_backup.back_up(load(), Access.default(), lambda line: None)
    mine = state_backup.local_metadata(load())
    assert mine is None or STACK not in mine.resources


@pytest.mark.parametrize("truncated", [True, False])
def test_the_checkpoint_is_backed_up_before_a_host_is_changed(truncated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's passwords are in an intact file on the disk by then."""
    applied = list[bytes]()
    monkeypatch.setattr(playbook, "plain_map", lambda news: news)
    monkeypatch.setattr(
        playbook, "_apply", lambda values, call: applied.append(checkpoints.backup_path(STACK).read_bytes())
    )
    text = content(1, "password")[: -1 if truncated else None]
    write(state_files.checkpoint(STACK), text)
    call = Call(name="x", stack=STACK, preview=False, timeout_s=0, say=lambda line: None)
    begin = playbook.Playbook()._apply({"host": "futian-edge1"}, call)  # type: ignore[dict-item]
    if truncated:
        with pytest.raises(ResourceFailed, match="futian-edge1: not changed"):
            asyncio.run(begin)
    else:
        asyncio.run(begin)
    assert applied == ([] if truncated else [text])


def test_a_run_without_disk_space_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder and the missing space, and no reserve file stays."""
    monkeypatch.setattr(disk_reserve, "MIN_BYTES", disk_reserve.free() + (1 << 30))
    with pytest.raises(GovcloudError, match="too full to start") as refused, disk_reserve.reserved(pytest.fail):
        pytest.fail("must not start")
    assert str(state_files.state_home()) in refused.value.message
    assert "free disk space" in refused.value.next_step
    assert not list(state_files.state_home().glob(".reserve"))


def test_the_reserve_occupies_disk_blocks_and_ends_with_the_run() -> None:
    """A sparse file would reserve nothing."""
    with disk_reserve.reserved(pytest.fail):
        reserve = state_files.state_home() / ".reserve"
        assert reserve.stat().st_blocks * 512 >= disk_reserve.MIN_BYTES
    assert not reserve.exists()
