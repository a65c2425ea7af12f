"""Starts programs that outlive the command: detached, in their own control groups, as children of the host's init."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.command import LabError

# The process joins its groups before the program starts, so that all of its children are in them too.
_START = 'for group in $LAB_GROUPS; do echo $$ >"$group/cgroup.procs" || exit 1; done; unset LAB_GROUPS; exec "$@"'


def start_detached(
    argv: Sequence[str], *, groups: Sequence[Path], log: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Start a program with its output in `log`. Raise `LabError` only if no process can be created."""
    settings = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "LAB_GROUPS": " ".join(str(group) for group in groups),
        **(environment or {}),
    }
    with log.open("ab") as output:
        started = subprocess.run(
            ["setsid", "--fork", "sh", "-c", _START, "sh", *argv],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=settings, cwd="/", check=False,
        )  # fmt: skip
    if started.returncode:
        raise LabError(f"{argv[0]}: cannot be started", f"read {log}")
