"""Kernel settings of the host that all machines share: read, raised if they are too small, and restored."""

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
"""Values that a Kubernetes node requires. A machine on a shared kernel cannot set them itself."""


def read() -> dict[str, str]:
    """Return the present values. Settings that this kernel lacks are left out."""
    found = {}
    for name in (*MINIMUMS, *NODE_VALUES):
        with suppress(OSError):
            found[name] = _path(name).read_text().strip()
    return found


def raise_to_minimums() -> None:
    """Raise the values that are too small. Never lower a value."""
    for name, value in read().items():
        if name in MINIMUMS and int(value) < MINIMUMS[name]:
            _path(name).write_text(f"{MINIMUMS[name]}\n")


def set_for_nodes() -> None:
    """Set the kernel so that machines can be Kubernetes nodes."""
    for name, value in NODE_VALUES.items():
        _path(name).write_text(f"{value}\n")


def restore(values: Mapping[str, str]) -> list[str]:
    """Restore the values. Return the names of settings that could not be restored."""
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
