#!/usr/bin/python3
# ruff: noqa: PTH110, PTH112, PTH118, PTH123
"""Decide how this etcd member starts, before it starts: found the cluster, go on, or join anew after its disk was lost.

A member that comes back with an empty disk and its old identity has forgotten what it voted for. It must not found the
cluster a second time: it leaves and joins as a new member. Runs as ExecStartPre with etcd's own environment, plus
JOIN_OTHERS (client addresses of the other members, by comma), JOIN_MARKER (a file on the system disk, written
once this host has been a member) and JOIN_RESULT (the environment file for etcd that is written here).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

ASK_TIMEOUT_S = 3
CHANGE_TIMEOUT_S = 15


class Refused(Exception):
    """Starting now could let this member vote twice; it has to wait."""


def decide(members, peer_url, was_member):
    """What to do with an empty disk: (state, ID of the member to remove or None, whether to add ourselves).

    `members` is the cluster's own list as `etcdctl member list` gives it, or None where no member answered. An entry
    with client addresses has been started once; one without, but with a name, is of a cluster that is being founded;
    one without a name was added and never started.
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


def initial_cluster(members, peer_url, name, declared):
    """`name=address` of every present member and ourselves, by comma; names of unstarted ones from what is declared."""
    names = {url: own for own, url in (item.split("=", 1) for item in declared.split(","))}
    pairs = {url: member.get("name") or names.get(url, "unknown") for member in members for url in member["peerURLs"]}
    pairs[peer_url] = name
    return ",".join(f"{pairs[url]}={url}" for url in sorted(pairs))


def etcdctl(endpoint, arguments, timeout_s):
    """The answer of one member as JSON, or None."""
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


def ask(endpoints):
    """The first answering member's address and its member list, or (None, None)."""
    for endpoint in endpoints:
        answer = etcdctl(endpoint, ["member", "list"], ASK_TIMEOUT_S)
        if answer is not None:
            return endpoint, answer["members"]
    return None, None


def rejoin(endpoint, remove, name, peer_url):
    """Leave where needed, join, and give the new member list."""
    if remove is not None and etcdctl(endpoint, ["member", "remove", f"{remove:x}"], CHANGE_TIMEOUT_S) is None:
        raise Refused("the cluster did not remove this host's lost member; trying again")
    if etcdctl(endpoint, ["member", "add", name, "--peer-urls", peer_url], CHANGE_TIMEOUT_S) is None:
        raise Refused("the cluster did not add this host; trying again")
    answer = etcdctl(endpoint, ["member", "list"], ASK_TIMEOUT_S)
    if answer is None:
        raise Refused("the cluster did not list its members; trying again")
    return answer["members"]


def start(marker):
    """The environment that overrides etcd's declared one."""
    data, name = os.environ["ETCD_DATA_DIR"], os.environ["ETCD_NAME"]
    peer_url, declared = os.environ["ETCD_INITIAL_ADVERTISE_PEER_URLS"], os.environ["ETCD_INITIAL_CLUSTER"]
    if os.path.isdir(os.path.join(data, "member")):
        return {}
    endpoint, members = ask([url for url in os.environ["JOIN_OTHERS"].split(",") if url])
    state, remove, add = decide(members, peer_url, os.path.exists(marker))
    if add:
        print("the disk is empty: joining as a new member%s" % (", the lost one leaves" if remove else ""))
        members = rejoin(endpoint, remove, name, peer_url)
    if state == "new":
        return {"ETCD_INITIAL_CLUSTER_STATE": "new", "ETCD_INITIAL_CLUSTER": declared}
    return {
        "ETCD_INITIAL_CLUSTER_STATE": "existing",
        "ETCD_INITIAL_CLUSTER": initial_cluster(members, peer_url, name, declared),
    }


def main():
    marker, result = os.environ["JOIN_MARKER"], os.environ["JOIN_RESULT"]
    try:
        environment = start(marker)
    except Refused as error:
        print(f"not starting: {error} (to found a new cluster on purpose, remove {marker})", file=sys.stderr)
        return 1
    with open(result, "w") as stream:
        stream.write("".join("{}={}\n".format(*item) for item in sorted(environment.items())))
    with open(marker, "a"):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
