"""The preparation of commands: the machine is checked without its lab, and the base image is of this checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import stacks
from estate.model import Estate
from lab import lab_state
from operations import machine
from operations.machine import prepare
from tools import prerequisites, setup
from tools.image import bake
from tools.prerequisites import GIB, Facts
from workstation.errors import GovcloudError

NOTHING_TO_DO = setup.Work(packages=(), compiler=False, builds=(), wheels=False, base=False, image=False)
TAKEN = Facts(root=True, debian=True, memory=3 * GIB, disk=60 * GIB, disk_path="/", kernel_lacks=())


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that is set up and has little free memory. No lab is recorded yet."""
    monkeypatch.setattr(lab_state.names, "RUN", tmp_path)
    monkeypatch.setattr(lab_state, "STATE_FILE", tmp_path / "lab.json")
    monkeypatch.setattr(setup, "missing_work", lambda groups: NOTHING_TO_DO)
    monkeypatch.setattr(prerequisites, "measure", lambda: TAKEN)


def note(available_before_mib: int) -> None:
    """Record a running lab."""
    boot = lab_state.boot()
    lab_state.write(
        lab_state.LabState(
            instance="i", checkout="c", home="h", digest="d", image="m", since="s", boot=boot,
            available_before_mib=available_before_mib,
        )
    )  # fmt: skip


@pytest.mark.usefixtures("short_of_memory")
def test_memory_of_the_lab_does_not_count_against_the_machine() -> None:
    note(available_before_mib=9 * 1024)
    prepare()


@pytest.mark.usefixtures("short_of_memory")
@pytest.mark.parametrize("before_mib", [None, 0, 7 * 1024])
def test_memory_of_other_programs_counts_against_the_machine(before_mib: int | None) -> None:
    """No lab is up, it did not record the figure, or there was too little memory before it."""
    if before_mib is not None:
        note(before_mib)
    with pytest.raises(GovcloudError, match="8 GiB of available memory are needed"):
        prepare()


@pytest.mark.parametrize(
    ("ready", "named", "deploys", "bakes"),
    [
        (False, None, True, True),
        (False, ["platform"], True, True),
        (False, ["network"], True, False),
        (False, None, False, False),
        (True, None, True, False),
    ],
    ids=["all", "the platform", "no pods", "only read", "baked already"],
)
def test_pods_are_of_this_checkout(
    monkeypatch: pytest.MonkeyPatch, ready: bool, named: list[str] | None, deploys: bool, bakes: bool
) -> None:
    """`up` alone deploys an edited service to its pods. The image is baked before the lab's namespace is entered,
    because registries are reachable only there."""
    done: list[str] = []

    def enter(estate: Estate) -> None:
        done.append("lab's network")

    monkeypatch.setattr(bake, "ready", lambda: ready)
    monkeypatch.setattr(machine, "prepare", lambda: done.append("bake"))
    monkeypatch.setattr(stacks, "into_namespace", enter)
    monkeypatch.setattr("cli.run_log.start", lambda command: done.append(f"log of {command}"))
    command = "up" if deploys else "drift"
    stacks.enter(command, named)
    assert done == [f"log of {command}", *(["bake"] if bakes else []), "lab's network"]
