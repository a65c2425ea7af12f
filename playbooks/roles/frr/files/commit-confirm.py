#!/usr/bin/python3
"""Commit-confirmed changes of frr.conf: a change that is not confirmed in time is undone.

    commit-confirm arm      keep the running configuration and start the deadline
    commit-confirm confirm  wait until every session that was up, and is still configured, is up again; then keep the change
    commit-confirm revert   put the kept configuration back; also what the deadline does

Exit code 0: done; 1: not confirmed and put back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

CONFIG = "/etc/frr/frr.conf"
KEPT = "/var/lib/govcloud/router/previous.conf"
SESSIONS = "/var/lib/govcloud/router/sessions.json"
TIMER = "govcloud-router-revert.timer"
CONFIRM_S = 60
POLL_S = 0.5


def sessions():
    """State of each configured BGP session by neighbour, e.g. {"10.64.128.3": "Established"}."""
    found = {}
    for family in ("ipv4", "ipv6"):
        done = subprocess.run(
            ["vtysh", "-c", "show bgp %s unicast summary json" % family], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            peers = json.loads(done.stdout or b"{}").get("peers", {})
        except ValueError:
            peers = {}
        found.update({address: peer.get("state", "") for address, peer in peers.items()})
    return found


def missing(before, now):
    """Neighbours that were up, are still configured and are not up. A neighbour that was taken out is no loss."""
    return sorted(a for a, state in before.items() if state == "Established" and now.get(a, "Established") != "Established")


def arm():
    with open(CONFIG) as stream:
        if "Rendered by govcloud" not in stream.read(1000):
            return
    os.makedirs(os.path.dirname(KEPT), mode=0o700, exist_ok=True)
    if not os.path.exists(KEPT):
        shutil.copy2(CONFIG, KEPT + ".new")
        os.rename(KEPT + ".new", KEPT)
        with open(SESSIONS, "w") as stream:
            json.dump(sessions(), stream)
    subprocess.run(["systemctl", "restart", TIMER], check=True)


def confirm():
    if not os.path.exists(KEPT):
        return
    with open(SESSIONS) as stream:
        before = json.load(stream)
    deadline = time.monotonic() + CONFIRM_S
    lost = missing(before, sessions())
    while lost and time.monotonic() < deadline:
        time.sleep(POLL_S)
        lost = missing(before, sessions())
    if lost:
        revert()
        sys.exit("not confirmed: sessions with %s did not come back; the previous configuration is restored" % ", ".join(lost))
    os.unlink(KEPT)


def revert():
    if not os.path.exists(KEPT):
        return
    shutil.copy2(KEPT, CONFIG + ".restored")
    shutil.chown(CONFIG + ".restored", "frr", "frr")
    os.rename(CONFIG + ".restored", CONFIG)
    subprocess.run(["systemctl", "reload-or-restart", "frr.service"], check=True)
    os.unlink(KEPT)


if __name__ == "__main__":
    {"arm": arm, "confirm": confirm, "revert": revert}[sys.argv[1]]()
