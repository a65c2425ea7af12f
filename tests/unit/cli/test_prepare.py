"""A machine that carries a lab is judged as it was before the lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.setup import prepare
from lab import record
from tools import prerequisites, setup
from tools.prerequisites import GIB, Facts
from workstation.errors import GovcloudError

NOTHING_TO_DO = setup.Work(packages=(), compiler=False, builds=(), wheels=False, base=False, image=False)
TAKEN = Facts(root=True, debian=True, memory=3 * GIB, disk=60 * GIB, disk_path="/", kernel_lacks=())


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that is set up, of whose memory most is taken; no lab is known yet."""
    monkeypatch.setattr(record.names, "RUN", tmp_path)
    monkeypatch.setattr(record, "RECORD", tmp_path / "lab.json")
    monkeypatch.setattr(setup, "look", lambda groups: NOTHING_TO_DO)
    monkeypatch.setattr(prerequisites, "look", lambda: TAKEN)


def note(available_before_mib: int) -> None:
    """A lab that is up."""
    boot = record.boot()
    record.write(
        record.Record(
            instance="i", checkout="c", home="h", digest="d", image="m", since="s", boot=boot,
            available_before_mib=available_before_mib,
        )
    )  # fmt: skip


@pytest.mark.usefixtures("short_of_memory")
def test_what_the_lab_takes_does_not_count_against_the_machine() -> None:
    note(available_before_mib=9 * 1024)
    prepare()


@pytest.mark.usefixtures("short_of_memory")
@pytest.mark.parametrize("before_mib", [None, 0, 7 * 1024])
def test_memory_that_something_else_takes_does_count(before_mib: int | None) -> None:
    """No lab is up, it has not noted the figure, or there was too little before it."""
    if before_mib is not None:
        note(before_mib)
    with pytest.raises(GovcloudError, match="8 GiB of available memory are needed"):
        prepare()
