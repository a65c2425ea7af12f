"""Programs of the machines' image, run here: each configuration is checked by the version that will read it."""

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
    """Return the command that starts a program of the current base image with the image's own libraries.

    It needs no root. Without an image, use the program on the path. Skip the test if neither exists.
    """
    try:
        root = bake.current()
    except GovcloudError:
        if found := shutil.which(program):
            return [found]
        pytest.skip(f"no {program} on the path and no base image: ./govcloud setup builds the image")
    file = next(path for folder in FOLDERS if (path := root / folder / program).exists())
    loader = next(path for path in sorted((root / "usr/lib").glob("*-linux-gnu*/ld-linux-*.so.*")))
    libraries = ":".join(str(root / library.format(loader.parent.name)) for library in LIBRARIES)
    return [str(loader), "--library-path", libraries, str(file)]


def accepts(program: str, *arguments: str | Path, cwd: Path | None = None) -> None:
    """Fail with the program's own output unless it ends with 0."""
    line: Sequence[str | Path] = [*argv(program), *arguments]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
