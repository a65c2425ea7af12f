"""Settings of the host's kernel that all machines share: read, raised where too small, and restored."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc/sys")

MINIMUMS = {
    "fs.inotify.max_user_instances": 8192,  # every systemd and every journald takes some; the default is 128
    "fs.inotify.max_user_watches": 262144,
    "kernel.pid_max": 65536,
}


NODE_VALUES = {"kernel.panic": "10", "kernel.panic_on_oops": "1", "vm.overcommit_memory": "1"}
"""What a Kubernetes node demands of its kernel, and a machine on a shared kernel cannot set itself."""


def read() -> dict[str, str]:
    """The values before the lab, of those that this kernel has."""
    found = {}
    for name in (*MINIMUMS, *NODE_VALUES):
        with suppress(OSError):
            found[name] = _path(name).read_text().strip()
    return found


def raise_to_minimums() -> None:
    """Raise what is too small; never lower anything."""
    for name, value in read().items():
        if name in MINIMUMS and int(value) < MINIMUMS[name]:
            _path(name).write_text(f"{MINIMUMS[name]}\n")


def set_for_nodes() -> None:
    """Make the kernel one on which machines may be Kubernetes nodes."""
    for name, value in NODE_VALUES.items():
        _path(name).write_text(f"{value}\n")


def restore(values: Mapping[str, str]) -> list[str]:
    """Put the values back; returns the names that could not be."""
    failed = []
    for name, value in values.items():
        try:
            if _path(name).read_text().strip() != value:
                _path(name).write_text(f"{value}\n")
        except OSError:
            failed.append(name)
    return failed


def _path(name: str) -> Path:
    return PROC / name.replace(".", "/")
