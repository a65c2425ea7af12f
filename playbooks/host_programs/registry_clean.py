#!/usr/bin/python3
"""Remove images from the site's registry that no pod can be started from any more: `registry-clean SETTINGS`.

A manifest stays as long as any cluster object from which pods are created names its digest. These objects include the
revisions to which a workload can roll back. A manifest also stays for a day after its push, because its pods may not be
declared yet. The manifest of each name that was pushed last stays too: it is the one that the estate declares now. The
registry's API deletes all others. The registry removes their blobs when it starts, before it accepts a push, so the
program restarts it.

Without a complete answer from the cluster the program removes nothing.
"""

import http.client
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
FRESH_S = 24 * 60 * 60
TIMEOUT_S = 30


class Manifest(NamedTuple):
    """One manifest of the registry: the time of its last push, in seconds of the clock, and the digests that it
    names.
    """

    repository: str
    digest: str
    pushed: float
    names: frozenset[str]


class Unanswered(Exception):
    """A server did not answer correctly. The message names the server and the problem."""


def superfluous(manifests: Collection[Manifest], named: set[str], now: float) -> list[Manifest]:
    """Return the manifests to remove. `named` are the digests that the cluster names.

    A kept index keeps the manifests that it names: one for each processor architecture. If the cluster names no digest
    at all, it is new or has lost its data. Then remove nothing.
    """
    if not named:
        return []
    last = {one.repository: one.digest for one in sorted(manifests, key=lambda one: one.pushed)}
    kept = named | set(last.values()) | {one.digest for one in manifests if now - one.pushed < FRESH_S}
    kept.update(digest for one in manifests if one.digest in kept for digest in one.names)
    return [one for one in manifests if one.digest not in kept]


def digests_of(listing: str) -> set[str]:
    """Return every digest anywhere in a list of the cluster. Raise ValueError if it is not a complete list."""
    answer = json.loads(listing)
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        raise ValueError("is no list")
    if answer.get("metadata", {}).get("continue"):
        raise ValueError("is not the whole list")
    return set(DIGEST.findall(listing))


def held(storage: str) -> Iterator[Manifest]:
    """Yield the manifests in the registry's folder. The time of a link is the time of its manifest's last push.

    Skip a link whose manifest was lost in a power loss: the registry cannot use it either.
    """
    top = Path(storage, "docker", "registry", "v2")
    if not top.exists():  # raises PermissionError for an unreadable folder, which would look empty below
        return
    for link in sorted(top.glob("repositories/**/_manifests/revisions/sha256/*/link")):
        value = link.parent.name
        blob = top / "blobs" / "sha256" / value[:2] / value / "data"
        if blob.exists():
            repository = link.parents[4].relative_to(top / "repositories").as_posix()
            names = frozenset(DIGEST.findall(blob.read_text(encoding="utf-8", errors="replace")))
            yield Manifest(repository, "sha256:" + value, link.stat().st_mtime, names)


class Server:
    """A server that is called over TLS. Both sides show certificates."""

    def __init__(self, url: str, authority: str, cert: str, key: str) -> None:
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(cert, key)
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        self.url, self.opener = url, urllib.request.build_opener(*handlers)

    def ask(self, method: str, path: str) -> str:
        """Return the answer's text. Raise Unanswered."""
        try:
            request = urllib.request.Request(self.url + path, method=method)
            with self.opener.open(request, timeout=TIMEOUT_S) as answer:
                text: bytes = answer.read()
                return text.decode()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unanswered(f"{method} {self.url}{path}: {error}") from error


def named_by(cluster: Server, paths: Iterable[str]) -> set[str]:
    """Return the digests that the cluster names in any of the lists. Raise Unanswered."""
    found = set[str]()
    for path in paths:
        try:
            found |= digests_of(cluster.ask("GET", path))
        except ValueError as error:
            raise Unanswered(f"GET {cluster.url}{path}: the answer {error}") from error
    return found


def clean(settings: Mapping[str, Any]) -> int:
    """Delete manifests and return how many. Raise Unanswered."""
    cluster, registry = Server(**settings["cluster"]), Server(**settings["registry"])
    # In this order: a deployment pushes its image before it declares pods. So pods that are declared after the cluster
    # was asked have an image that is fresh.
    named = named_by(cluster, settings["lists"])
    gone = superfluous(list(held(settings["storage"])), named, time.time())
    for one in gone:
        registry.ask("DELETE", f"/v2/{one.repository}/manifests/{one.digest}")
        print(f"removed {one.repository}@{one.digest}", flush=True)
    return len(gone)


def main(path: str) -> int:
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        count = clean(settings)
    except (Unanswered, OSError) as error:
        print(f"registry-clean: {error}; nothing more is removed until the next run", file=sys.stderr)
        return 1
    return subprocess.run(settings["collect"], check=False).returncode if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
