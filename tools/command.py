"""Run build tools: their output becomes progress, and a failure becomes one clear sentence."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workstation.errors import GovcloudError

logger = logging.getLogger(__name__)

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""Prefix for a command that must end with our process: the next run starts the same work again in the same place."""

ISOLATED = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Prefix for a command that mounts file systems and starts processes: all of them are removed when it ends."""

TAIL_LINES = 15
"""Number of shown lines of a failed tool's output: enough for the reason, and short enough to read."""


def run(
    argv: Sequence[str],
    *,
    failure: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a command; pass each output line to `on_line`. Raises GovcloudError with `failure` and the last lines."""
    logger.debug("running %s", shlex.join(argv))
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
                logger.debug("%s: %s", Path(argv[0]).name, line.rstrip())
                if on_line:
                    on_line(line.rstrip())
    except FileNotFoundError as error:
        raise GovcloudError(f"{failure}: {error.filename} is not installed") from error
    if process.returncode:
        raise GovcloudError(f"{failure} ({Path(argv[0]).name} ended with {process.returncode})", "\n".join(tail))


def output(argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str | None:
    """Return the standard output; None if the command is absent or fails."""
    try:
        done = subprocess.run(argv, env=_environment(env), cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Return the machine's environment without our settings for Python: packages compile their code when installed."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | dict(more or {})
