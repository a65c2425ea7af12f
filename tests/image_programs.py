"""Programs of the machines, run here: a configuration is judged by the very version that will read it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.image import bake
from workstation.errors import GovcloudError

FOLDERS = ("usr/sbin", "usr/bin")
LIBRARIES = ("usr/lib/{0}", "usr/lib/{0}/frr", "lib/{0}")


def argv(program: str) -> list[str]:
    """How to start a program of the current base image with the image's own libraries; needs no root.

    Where no image was baked, the one on the path; where there is none either, the test is skipped.
    """
    try:
        root = bake.current()
    except GovcloudError:
        if found := shutil.which(program):
            return [found]
        pytest.skip(f"no {program} on the path and no image baked yet: ./govcloud setup bakes one")
    file = next(path for folder in FOLDERS if (path := root / folder / program).exists())
    loader = next(path for path in sorted((root / "usr/lib").glob("*-linux-gnu*/ld-linux-*.so.*")))
    libraries = ":".join(str(root / library.format(loader.parent.name)) for library in LIBRARIES)
    return [str(loader), "--library-path", libraries, str(file)]


def accepts(program: str, *arguments: str | Path, cwd: Path | None = None) -> None:
    """Fail with the program's own words unless it ends with 0."""
    line: Sequence[str | Path] = [*argv(program), *arguments]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
