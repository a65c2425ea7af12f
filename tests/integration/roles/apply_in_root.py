"""Apply specs to the unpacked system under a directory: `python apply_in_root.py ROOT ARTIFACTS`.

The specs are a JSON list on standard input. The program prints one JSON object for each: `changes`, `tasks` by role in
their order, and `failed` with role and reason. `leaked` is the number of Ansible's events that contain a secret text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playbooks import runner
from playbooks.host_spec import HostSpec

TIMEOUT_S = 120


def apply(spec: HostSpec, root: Path, artifacts: Path) -> dict[str, Any]:
    """Apply one spec as `runner.apply` does, but over the chroot connection."""
    variables = runner.role_variables(spec, artifacts)
    variables |= {"ansible_connection": "chroot", "ansible_host": str(root)}
    events: list[runner.Event] = []
    leaked: list[str] = []
    take = runner._Record.take

    def watching(self: runner._Record, event: Mapping[str, Any]) -> bool:
        leaked.extend(text for text in spec["secrets"].values() if text in str(event))
        return take(self, event)

    runner._Record.take = watching  # type: ignore[method-assign]
    found: dict[str, Any] = {"changes": [], "failed": None}
    try:
        applied = runner._play(
            spec["host"], "site.yml", variables, ssh_arguments=[], on_event=events.append, timeout_s=TIMEOUT_S
        )
        found["changes"] = applied.changes
    except runner.PlaybookFailed as error:
        found["failed"] = [error.role, error.reason]
    finally:
        runner._Record.take = take  # type: ignore[method-assign]
    tasks = [(event.role, event.task) for event in events if event.role != "site" and event.state != "skipped"]
    return {**found, "tasks": tasks, "leaked": len(leaked)}


if __name__ == "__main__":
    for wanted in json.load(sys.stdin):
        print(json.dumps(apply(wanted, Path(sys.argv[1]), Path(sys.argv[2]))), flush=True)
