#!/usr/bin/python3
"""Commit-confirmed changes of frr.conf: a change that is not confirmed in time is rolled back.

    commit-confirm arm      back up the running configuration and start the deadline
    commit-confirm confirm  wait until every session that was up and is still configured is up again; keep the change
    commit-confirm revert   restore the backup; the deadline does the same

Exit code 0: done. Exit code 1: not armed, or not confirmed and rolled back; the message says which.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

CONFIG = Path("/etc/frr/frr.conf")
KEPT = Path("/var/lib/govcloud/router/previous.conf")
SESSIONS = KEPT.with_name("sessions.json")
TIMER = "govcloud-router-revert.timer"
DAEMONS = "frr.service"
CONFIRM_S = 30
SETTLE_S = 30
ANSWER_S = 5
POLL_S = 0.5


def sessions() -> dict[str, str] | None:
    """Return the state of each BGP session by neighbour, e.g. {"10.64.128.3": "Established"}.

    Return None if bgpd does not answer.
    """
    found = dict[str, str]()
    for family in ("ipv4", "ipv6"):
        try:
            done = subprocess.run(
                ["vtysh", "-c", f"show bgp {family} unicast summary json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=ANSWER_S,
                check=True,
            )
            peers = json.loads(done.stdout).get("peers", {})
        except (subprocess.SubprocessError, ValueError, AttributeError):
            return None
        found.update({address: peer.get("state", "") for address, peer in peers.items()})
    return found


def before_the_change() -> dict[str, str]:
    """Return the sessions that the change could break; an empty dict if the router daemon is stopped.

    If the daemon runs but does not report its sessions, exit: the change could not be confirmed.
    """
    deadline = time.monotonic() + CONFIRM_S
    known = sessions()
    while known is None and subprocess.run(["systemctl", "is-active", "--quiet", DAEMONS], check=False).returncode == 0:
        if time.monotonic() > deadline:
            sys.exit(
                f"not changed: {DAEMONS} runs but does not report its sessions, so no change could be confirmed"
                " (see `systemctl status frr`; after `systemctl stop frr` a change is made without confirmation)"
            )
        time.sleep(POLL_S)
        known = sessions()
    return known or {}


def configured(text: str) -> set[str]:
    """Return the neighbours in a configuration file.

    Do not ask the daemon: if it is dead or still starting, it reports no neighbour.
    """
    words = (line.split() for line in text.splitlines())
    return {line[1] for line in words if line[:1] == ["neighbor"] and line[2:3] == ["remote-as"]}


def missing(before: Mapping[str, str], now: Mapping[str, str], wanted: Collection[str]) -> list[str]:
    """Return neighbours that were up, are still configured and are not up. A removed neighbour is no loss."""
    return sorted(a for a, state in before.items() if state == "Established" and a in wanted and now.get(a) != state)


def arm() -> None:
    if "Rendered by govcloud" not in CONFIG.read_text()[:1000]:
        return
    KEPT.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not KEPT.exists():
        SESSIONS.write_text(json.dumps(before_the_change()))
        new = KEPT.with_suffix(".new")
        shutil.copy2(CONFIG, new)
        for file in (SESSIONS, new):  # once KEPT exists, both files must be complete, also after a power loss
            with file.open("rb") as written:
                os.fsync(written.fileno())
        new.rename(KEPT)
    subprocess.run(["systemctl", "restart", TIMER], check=True)


def confirm() -> None:
    if not KEPT.exists():
        return
    before = json.loads(SESSIONS.read_text())
    wanted, deadline = configured(CONFIG.read_text()), time.monotonic() + CONFIRM_S
    lost = missing(before, sessions() or {}, wanted)
    while lost and time.monotonic() < deadline:
        time.sleep(POLL_S)
        lost = missing(before, sessions() or {}, wanted)
    if lost:
        revert()
        sys.exit(
            f"not confirmed: sessions with {', '.join(lost)} did not come back; the previous configuration is restored"
        )
    KEPT.unlink()


def revert() -> None:
    if not KEPT.exists():
        return
    restored = CONFIG.with_suffix(".restored")
    shutil.copy2(KEPT, restored)
    shutil.chown(restored, "frr", "frr")
    restored.rename(CONFIG)
    if not (settled("reload-or-restart") or (settled("kill", "--signal=KILL") and settled("restart"))):
        sys.exit(f"the previous {CONFIG} is restored, but {DAEMONS} does not start: see `journalctl -u {DAEMONS}`")
    KEPT.unlink()


def settled(*verb: str) -> bool:
    """Return whether the daemons did it in time.

    A hanging daemon ignores a reload, and its stop would wait two minutes.
    """
    try:
        return subprocess.run(["systemctl", *verb, DAEMONS], timeout=SETTLE_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


if __name__ == "__main__":
    {"arm": arm, "confirm": confirm, "revert": revert}[sys.argv[1]]()
