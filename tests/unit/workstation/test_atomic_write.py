"""A file has its old content or its new content, never a part of it, and no draft remains."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from workstation import atomic_write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with an old content in an otherwise empty folder."""
    path = tmp_path / "state.json"
    path.write_text("old")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, str]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), file.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    atomic_write.write(file, "new")
    (draft, before), folder = synced
    assert Path(draft).parent == file.parent
    assert Path(draft) != file
    assert before == "old"
    assert folder == (str(file.parent), "new")


@pytest.mark.parametrize("broken", ["fsync", "fchmod"])
def test_a_full_disk_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write.write(file, "new")
    assert file.read_text() == "old"
    assert names(file.parent) == ["state.json"]


def test_only_the_owner_reads_the_file_unless_a_mode_is_given(file: Path) -> None:
    """The mode does not depend on the umask of the caller."""
    former = os.umask(0o077)
    try:
        atomic_write.write(file.parent / "private", b"\0")
        atomic_write.write(file, "new", mode=0o755)
    finally:
        os.umask(former)
    assert (file.parent / "private").stat().st_mode & 0o777 == 0o600
    assert file.stat().st_mode & 0o777 == 0o755
    assert file.read_text() == "new"


def test_a_symbolic_link_stays(file: Path, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    link = tmp_path / "below" / "link"
    link.symlink_to(file)
    atomic_write.write(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert names(tmp_path / "below") == ["link"]


def test_an_existing_file_is_not_created_again(file: Path) -> None:
    atomic_write.create(file, "new")
    assert file.read_text() == "old"
    atomic_write.create(file.parent / "other", "new")
    assert (file.parent / "other").read_text() == "new"
    assert names(file.parent) == ["other", "state.json"]


def test_concurrent_writers_leave_one_complete_file(file: Path) -> None:
    contents = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=atomic_write.write, args=(file, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() in contents
    assert names(file.parent) == ["state.json"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_block_that_fails_changes_nothing(file: Path, durable: bool) -> None:
    """A killed compiler or copy leaves a part of its output."""

    def fail(draft: Path) -> None:
        draft.write_text("a part")
        raise KeyError

    with pytest.raises(KeyError), atomic_write.replacing(file, durable=durable) as draft:
        fail(draft)
    assert (file.read_text(), names(file.parent)) == ("old", ["state.json"])
    with atomic_write.replacing(file, durable=durable) as draft:
        draft.write_text("new")
    assert (file.read_text(), names(file.parent)) == ("new", ["state.json"])


def test_a_link_gets_another_target(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    atomic_write.link(link, "nowhere")
    atomic_write.link(link, file)
    assert link.readlink() == file
    assert names(tmp_path) == ["current", "state.json"]
