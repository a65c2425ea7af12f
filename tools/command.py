"""Running the tools that build things: their words become progress, their failure one clear sentence."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workstation.errors import GovcloudError

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""Put before a command that must not outlive us: the next run starts the same work anew, in the same place."""

ISOLATED = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Put before a command that mounts and starts much: however it ends, no mount and no process of it stays behind."""

TAIL_LINES = 15
"""Lines of a failed tool's output that are shown: enough for its reason, little enough to be read."""


def run(
    argv: Sequence[str],
    *,
    failure: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run to the end, each line of output to `on_line`. Raises GovcloudError with `failure` and the last lines."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        with subprocess.Popen(
            argv,
            env=_environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                tail.append("  " + line.rstrip())
                if on_line:
                    on_line(line.rstrip())
    except FileNotFoundError as error:
        raise GovcloudError(f"{failure}: {error.filename} is not installed") from error
    if process.returncode:
        raise GovcloudError(f"{failure} ({Path(argv[0]).name} ended with {process.returncode})", "\n".join(tail))


def output(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str | None:
    """Standard output, or None if the command is absent or fails."""
    try:
        done = subprocess.run(argv, env=_environment(env), cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """The machine's own environment. Our settings for Python stay out: packages compile theirs when installed."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | dict(more or {})
