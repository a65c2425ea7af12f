"""The gate of a change to a live estate: never the only site that still answers.

The program hands in, for a host at a serving site, where each serving site can be asked and how. Before a declared
change is made to the host, all are asked: where the host's own site answers and no other does, the change is refused.
A site that does not answer may always be changed, and a hand edit may always be put right: that is how it is repaired.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stacks.providers.resource import ResourceFailed
from workstation import ssh

PROBE_TIMEOUT_S = 10.0


def check(host: str, gate: Mapping[str, Any]) -> None:
    """Ask all sites of the gate: `{"site", "service", "argv", "at": {site: address}}`; an empty one is open.

    Raises `ResourceFailed` where the host's site is the only one that answers.
    """
    places = dict(gate.get("at") or {})
    if not places:
        return
    access = ssh.Access.default()
    answers = ssh.on_each(places.values(), lambda address: _answers(access, address, list(gate["argv"])))
    reason = refusal(gate["site"], dict(zip(places, answers, strict=True)))
    if reason:
        raise ResourceFailed(f"{host}: not changed: {gate['service']}: {reason}")


def refusal(site: str, answering: Mapping[str, bool]) -> str:
    """Why a host at `site` must not be changed now; empty where it may."""
    others = [name for name in answering if name != site]
    if not answering.get(site) or not others or any(answering[name] for name in others):
        return ""
    return (
        f"{site} is the only site that answers; {', '.join(others)} does not. Bring it back first, "
        f"or name it as dead with --without {others[0]}"
    )


def fingerprint(values: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Of what was declared when it was applied: tells a declared change from a hand edit."""
    return hashlib.sha256(json.dumps({key: values.get(key) for key in keys}, sort_keys=True).encode()).hexdigest()


def _answers(access: ssh.Access, address: str, argv: list[str]) -> bool:
    try:
        return ssh.run(access, address, argv, timeout_s=PROBE_TIMEOUT_S).returncode == 0
    except ssh.HostUnreachable:
        return False
