#!/usr/bin/python3
# ruff: noqa: PTH110, PTH112, PTH118, PTH123
"""Decide, before this etcd member starts, how it starts: create the cluster, continue, or join again after its disk was
lost.

A member that returns with an empty disk and its old identity has forgotten its votes. It must not create the cluster a
second time: the program removes it and adds it as a new member. It runs as ExecStartPre with etcd's own environment,
plus JOIN_OTHERS (client addresses of the other members, separated by commas), JOIN_MARKER (a file on the system disk,
written once this host has been a member) and JOIN_RESULT (the environment file for etcd that this program writes).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

ASK_TIMEOUT_S = 3
CHANGE_TIMEOUT_S = 15

Member = dict[str, Any]
"""An entry of etcd's member list."""


class Refused(Exception):
    """If this member started now, it could vote twice. It must wait."""


def decide(members: list[Member] | None, peer_url: str, was_member: bool) -> tuple[str, int | None, bool]:
    """Decide for an empty disk. Return (state, ID of the member to remove or None, whether to add ourselves).

    `members` is the cluster's own list from `etcdctl member list`, or None if no member answered. An entry with client
    addresses has started at least once. An entry with a name but without client addresses belongs to a cluster that is
    being created. An entry without a name was added and has never started.
    """
    if members is None:
        if was_member:
            raise Refused(
                "the disk is empty, this host was a member before, and no other member answers: waiting for them"
            )
        return "new", None, False
    own = [member for member in members if peer_url in member.get("peerURLs", [])]
    if not own:
        return "existing", None, True
    if own[0].get("clientURLs"):
        return "existing", own[0]["ID"], True
    return ("new" if own[0].get("name") else "existing"), None, False


def initial_cluster(members: Iterable[Member], peer_url: str, name: str, declared: str) -> str:
    """Return `name=address` of every present member and ourselves, separated by commas.

    Members that have not started have no name yet: take it from `declared`.
    """
    names = {url: own for own, _, url in (item.partition("=") for item in declared.split(","))}
    pairs = {url: member.get("name") or names.get(url, "unknown") for member in members for url in member["peerURLs"]}
    pairs[peer_url] = name
    return ",".join(f"{pairs[url]}={url}" for url in sorted(pairs))


def etcdctl(endpoint: str, arguments: Sequence[str], timeout_s: int) -> Any:
    """Return one member's answer as JSON, or None."""
    argv = [
        "etcdctl",
        "--endpoints",
        endpoint,
        "--cacert",
        os.environ["ETCD_TRUSTED_CA_FILE"],
        "--cert",
        os.environ["ETCD_CERT_FILE"],
        "--key",
        os.environ["ETCD_KEY_FILE"],
        "--dial-timeout",
        "2s",
        "--command-timeout",
        f"{timeout_s}s",
        "--write-out",
        "json",
        *arguments,
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout_s + 2, env=environment, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        return None


def ask(endpoints: Iterable[str]) -> tuple[str, list[Member]] | tuple[None, None]:
    """Return the address and the member list of the first member that answers, or (None, None)."""
    for endpoint in endpoints:
        answer = etcdctl(endpoint, ["member", "list"], ASK_TIMEOUT_S)
        if answer is not None:
            return endpoint, answer["members"]
    return None, None


def rejoin(endpoint: str, remove: int | None, name: str, peer_url: str) -> list[Member]:
    """Remove the lost member if necessary, add this host, and return the new member list."""
    if remove is not None and etcdctl(endpoint, ["member", "remove", f"{remove:x}"], CHANGE_TIMEOUT_S) is None:
        raise Refused("the cluster did not remove this host's lost member; trying again")
    if etcdctl(endpoint, ["member", "add", name, "--peer-urls", peer_url], CHANGE_TIMEOUT_S) is None:
        raise Refused("the cluster did not add this host; trying again")
    answer = etcdctl(endpoint, ["member", "list"], ASK_TIMEOUT_S)
    if answer is None:
        raise Refused("the cluster did not list its members; trying again")
    members: list[Member] = answer["members"]
    return members


def start(marker: str) -> dict[str, str]:
    """Return the environment variables that override etcd's declared ones."""
    data, name = os.environ["ETCD_DATA_DIR"], os.environ["ETCD_NAME"]
    peer_url, declared = os.environ["ETCD_INITIAL_ADVERTISE_PEER_URLS"], os.environ["ETCD_INITIAL_CLUSTER"]
    if os.path.isdir(os.path.join(data, "member")):
        return {}
    endpoint, members = ask([url for url in os.environ["JOIN_OTHERS"].split(",") if url])
    state, remove, add = decide(members, peer_url, os.path.exists(marker))
    if add and endpoint:
        print(f"the disk is empty: joining as a new member{', the lost one leaves' if remove else ''}")
        members = rejoin(endpoint, remove, name, peer_url)
    if state == "new":
        return {"ETCD_INITIAL_CLUSTER_STATE": "new", "ETCD_INITIAL_CLUSTER": declared}
    return {
        "ETCD_INITIAL_CLUSTER_STATE": "existing",
        "ETCD_INITIAL_CLUSTER": initial_cluster(members or (), peer_url, name, declared),
    }


def main() -> int:
    marker, result = os.environ["JOIN_MARKER"], os.environ["JOIN_RESULT"]
    try:
        environment = start(marker)
    except Refused as error:
        print(f"not starting: {error} (to found a new cluster on purpose, remove {marker})", file=sys.stderr)
        return 1
    with open(result, "w") as stream:
        stream.write("".join(f"{key}={value}\n" for key, value in sorted(environment.items())))
    with open(marker, "a"):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
