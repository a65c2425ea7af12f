"""The wires' daemon is built by setup's compiler, and the operator sees a progress line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import wires_client
from lab.command import LabError
from tools import golang
from workstation import paths


def compiler(where: Path, name: str) -> None:
    """Write a program that writes its name to the file of the compiler option `-o`."""
    where.parent.mkdir(parents=True)
    where.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho {name} >"$2"\n')
    where.chmod(0o755)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache on a machine with its own Go on the path."""
    compiler(tmp_path / "bin" / "go", "hosts")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("GOVCLOUD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("cache")
def test_setups_compiler_builds_it_although_another_go_is_on_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    compiler(paths.compiler(), "setups")
    assert wires_client.program().read_text() == "setups\n"
    assert "▸ building the wires' daemon from this checkout (about 10 s)" in capsys.readouterr().err
    wires_client.program()
    assert capsys.readouterr().err == ""


def test_without_setups_compiler_the_next_step_is_setup(cache: Path) -> None:
    with pytest.raises(LabError) as caught:
        wires_client.program()
    assert caught.value.next_step == "run ./govcloud setup"
    assert not cache.exists()


def test_setup_chooses_a_compiler_that_can_build_it() -> None:
    lines = (wires_client.SOURCE / "go.mod").read_text().splitlines()
    assert max(golang.version(line) for line in lines if line.startswith("go ")) <= golang.needed()
