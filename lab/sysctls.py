"""Kernel settings of the host that all machines share: recorded, raised if they are too small, and restored.

The record is separate from that of the lab. So the values of a host survive a damaged record of the lab, and a killed
test that needs no lab.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lab import names
from workstation import atomic_write

PROC = Path("/proc/sys")
RECORD = names.RUN / "sysctls.json"
"""The host's own values, from before the first change until they are restored. A reboot removes both."""

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


def change(*, nodes: bool) -> None:
    """Record the host's own values. Then raise the values that are too small; with `nodes`, set those of nodes too.

    Values that are recorded already stay: the process that changed them was killed before it restored them.
    """
    present = read()
    _record(present | _recorded())
    wanted = {name: str(least) for name, least in MINIMUMS.items() if int(present.get(name, least)) < least}
    for name, value in (wanted | (NODE_VALUES if nodes else {})).items():
        _path(name).write_text(f"{value}\n")


def restore() -> list[str]:
    """Restore the recorded values. Return the names of settings that could not be restored. They stay recorded."""
    failed = {}
    for name, value in _recorded().items():
        try:
            if _path(name).read_text().strip() != value:
                _path(name).write_text(f"{value}\n")
        except OSError:
            failed[name] = value
    if failed:
        _record(failed)
    else:
        RECORD.unlink(missing_ok=True)
    return list(failed)


def _recorded() -> dict[str, str]:
    """Return the recorded values. A damaged record has none: it must not prevent the removal of a lab."""
    try:
        return dict(json.loads(RECORD.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _record(values: Mapping[str, str]) -> None:
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    atomic_write.write(RECORD, json.dumps(values), mode=0o644)


def _path(name: str) -> Path:
    return PROC / name.replace(".", "/")
