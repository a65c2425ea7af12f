"""Our provider with folders instead of hosts: `python held_provider.py ENGINE`.

To apply a configuration means to wait for the lock of $GOVCLOUD_TEST_MACHINES/hold. The test holds this lock as long as
it observes an unfinished run. Each start and each end is written to `log` there. All other code is the real provider.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from playbooks.compare import Difference
from stacks.providers import __main__ as provider
from stacks.providers import host_locks, playbook
from stacks.providers.resource import Call

FOLDER = Path(os.environ["GOVCLOUD_TEST_MACHINES"])


def note(what: str) -> None:
    """Append one line to the log, atomically."""
    with (FOLDER / "log").open("a", encoding="utf-8") as stream:
        stream.write(what + "\n")


def apply(values: dict[str, Any], call: Call) -> None:
    """Replaces the run of Ansible."""
    with host_locks.exclusive(values["host"], call.say):
        note(f"begun {values['host']}")
        with (FOLDER / "hold").open("a") as hold:
            fcntl.flock(hold, fcntl.LOCK_SH)
        (FOLDER / f"edited-{values['host']}").unlink(missing_ok=True)
        note(f"ended {values['host']}")


def compare(values: dict[str, Any]) -> tuple[Difference, ...]:
    """Report no difference, except for hosts that a test has marked as edited by hand."""
    with (FOLDER / "compared").open("a", encoding="utf-8") as stream:
        stream.write(values["host"] + "\n")
    if not (FOLDER / f"edited-{values['host']}").exists():
        return ()
    path = next(iter(values["files"]))
    wanted = values["files"][path]["mode"]
    return (Difference(role="r", kind="file", name=path, aspect="mode", wanted=wanted, actual="0777"),)


if __name__ == "__main__":
    playbook._apply = apply
    playbook._compare = compare
    provider.main()
