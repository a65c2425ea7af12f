"""The only way into hosts: OpenSSH with one shared connection per host. It never enters a machine's namespaces."""

from __future__ import annotations

import logging
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from workstation import paths
from workstation.errors import GovcloudError

logger = logging.getLogger(__name__)
T = TypeVar("T")
S = TypeVar("S")

CONNECT_TIMEOUT_S = 5
UNREACHABLE = 255
"""ssh's own exit code for an unreachable host. A command's own exit code 255 looks the same."""


class HostUnreachable(GovcloudError):
    """The host did not answer on its management address."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The operator's key, and the known keys of the hosts."""

    user: str = "root"
    key: Path
    known_hosts: Path

    @classmethod
    def default(cls) -> Access:
        """Return the access with the operator's key in the home directory."""
        return cls(key=paths.home() / "ssh" / "id_ed25519", known_hosts=paths.home() / "ssh" / "known_hosts")

    def options(self, *, shared: bool = True, connect_timeout_s: int = CONNECT_TIMEOUT_S) -> list[str]:
        """Return the OpenSSH options.

        A `shared` connection stays open for a minute and serves all callers. A connection that is not shared belongs to
        the caller and ends with its process.
        """
        sharing = {"ControlMaster": "auto", "ControlPath": f"{self.key.parent}/mux-%C", "ControlPersist": "60"}
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": str(connect_timeout_s),
            **(sharing if shared else {"ControlMaster": "no", "ControlPath": "none"}),
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "ServerAliveCountMax": "3",
            "ServerAliveInterval": "3",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
        }
        return ["-F", "none", "-i", str(self.key), *(arg for k, v in settings.items() for arg in ("-o", f"{k}={v}"))]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a command on a host."""

    returncode: int
    stdout: bytes
    stderr: bytes


def command(
    access: Access,
    address: str,
    argv: Sequence[str],
    *,
    tty: bool = False,
    shared: bool = True,
    connect_timeout_s: int = CONNECT_TIMEOUT_S,
) -> list[str]:
    """Return the ssh command line that runs `argv` on the host; without `argv`, a login shell."""
    options = access.options(shared=shared, connect_timeout_s=connect_timeout_s)
    line = ["ssh", *options, *(["-t"] if tty else []), f"{access.user}@{address}"]
    return [*line, "--", shlex.join(argv)] if argv else line


def run(access: Access, address: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Result:
    """Run `argv` on the host. Raises `HostUnreachable` if ssh fails or times out, but not for an exit code."""
    begun = time.monotonic()
    try:
        line = command(access, address, argv)
        done = subprocess.run(line, input=stdin, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise HostUnreachable(f"{address}: no answer to {argv[0]!r} within {timeout_s:g} s") from None
    # Only the program's name: arguments are whole scripts, and standard input may be secret.
    logger.debug("%s: %s ended with %d after %.2f s", address, argv[0], done.returncode, time.monotonic() - begun)
    if done.returncode == UNREACHABLE:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise HostUnreachable(f"{address}: {reason[-1] if reason else 'ssh failed'}")
    return Result(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def on_each(items: Iterable[S], act: Callable[[S], T], *, at_once: int = 16) -> list[T]:
    """Apply `act` to every item, `at_once` in parallel. Return the results in order; raise the first exception."""
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(act, items))
