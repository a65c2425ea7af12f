#!/usr/bin/python3
"""Remove from the site's image registry what no pod can be started from any more: `registry-clean SETTINGS`.

A manifest stays as long as anything of the cluster from which pods are made names its digest, the revisions to which a
workload can go back included. For a day after it was pushed its pods may not be declared yet, and the one of each name
that was pushed last is what the estate declares now: both stay too. All others are deleted through the registry's API.
Their blobs go when the registry starts, before it takes a push, so it is started again.

Without the cluster's whole word nothing is removed.
"""

import http.client
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections import namedtuple
from pathlib import Path

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
FRESH_S = 24 * 60 * 60
TIMEOUT_S = 30

Manifest = namedtuple("Manifest", "repository digest pushed names")
"""One that the registry holds: when it was pushed last, in seconds of the clock, and the digests that it names."""


class Unanswered(Exception):
    """A server did not answer as it should; the message says which, and how."""


def superfluous(manifests, named, now):
    """Those to remove. `named` are the digests that the cluster names.

    An index that is kept keeps the manifests that it names: one for each processor. A cluster that names nothing at all
    is new or has lost its memory, and is not one to go by.
    """
    if not named:
        return []
    last = {one.repository: one.digest for one in sorted(manifests, key=lambda one: one.pushed)}
    kept = named | set(last.values()) | {one.digest for one in manifests if now - one.pushed < FRESH_S}
    kept.update(digest for one in manifests if one.digest in kept for digest in one.names)
    return [one for one in manifests if one.digest not in kept]


def digests_of(listing):
    """Every digest that a list of the cluster names, wherever. Raises ValueError where that is not a whole list."""
    answer = json.loads(listing)
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        raise ValueError("is no list")
    if answer.get("metadata", {}).get("continue"):
        raise ValueError("is not the whole list")
    return set(DIGEST.findall(listing))


def held(storage):
    """The manifests below the registry's folder. Their links' times tell when they were pushed last.

    A link whose manifest a loss of power took leads to nothing, for the registry too.
    """
    top = Path(storage, "docker", "registry", "v2")
    if not top.exists():  # PermissionError where it may not be read: below, that would pass for an empty one
        return
    for link in sorted(top.glob("repositories/**/_manifests/revisions/sha256/*/link")):
        value = link.parent.name
        blob = top / "blobs" / "sha256" / value[:2] / value / "data"
        if blob.exists():
            repository = link.parents[4].relative_to(top / "repositories").as_posix()
            names = frozenset(DIGEST.findall(blob.read_text(encoding="utf-8", errors="replace")))
            yield Manifest(repository, "sha256:" + value, link.stat().st_mtime, names)


class Server:
    """One that is asked over TLS, in which both sides show certificates."""

    def __init__(self, url, authority, cert, key):
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(cert, key)
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        self.url, self.opener = url, urllib.request.build_opener(*handlers)

    def ask(self, method, path):
        """The answer's text. Raises Unanswered."""
        try:
            request = urllib.request.Request(self.url + path, method=method)
            with self.opener.open(request, timeout=TIMEOUT_S) as answer:
                return answer.read().decode()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unanswered(f"{method} {self.url}{path}: {error}") from error


def named_by(cluster, paths):
    """The digests that the cluster names in any of the lists. Raises Unanswered."""
    found = set()
    for path in paths:
        try:
            found |= digests_of(cluster.ask("GET", path))
        except ValueError as error:
            raise Unanswered(f"GET {cluster.url}{path}: the answer {error}") from error
    return found


def clean(settings):
    """Delete; answers how many. Raises Unanswered."""
    cluster, registry = Server(**settings["cluster"]), Server(**settings["registry"])
    # In this order: who declares pods after the cluster was asked has pushed their image before, which makes it fresh.
    named = named_by(cluster, settings["lists"])
    gone = superfluous(list(held(settings["storage"])), named, time.time())
    for one in gone:
        registry.ask("DELETE", f"/v2/{one.repository}/manifests/{one.digest}")
        print(f"removed {one.repository}@{one.digest}", flush=True)
    return len(gone)


def main(path):
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        count = clean(settings)
    except (Unanswered, OSError) as error:
        print(f"registry-clean: {error}; nothing more is removed until the next run", file=sys.stderr)
        return 1
    return subprocess.run(settings["collect"], check=False).returncode if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
