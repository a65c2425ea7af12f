"""`govcloud:index:Gate`: a site's service is asked whether it works after its pods became others, before the next site.

Pods are ready as soon as they answer at all, so that a site without a database keeps its page: a version that starts
and cannot decide would pass every site. Create and update therefore ask at the site's own ingress, on its kube host,
until the service answers several times in a row. Nothing is changed anywhere, so nothing can drift, and delete forgets.
A failed gate stays open in the state: the next run asks again.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from pulumi.provider.experimental.provider import DiffResponse

from stacks.providers.resource import Call, Resource, ResourceFailed, differences
from stacks.providers.values import Properties, plain, plain_map
from workstation import ssh

ATTEMPTS, PATIENCE_S = 12, 10
"""So often, and for so long each time, a site is asked: two minutes, ten times what a site takes to answer after a
first build. In between the operator's Ctrl-C is heard."""
IN_A_ROW = 20
"""Each answer may come from another pod: one of two that cannot write is found, though the other one can. By chance all
come from the good one in one window of a million, and two minutes have a thousand. It takes some two seconds."""
SSH_S = PATIENCE_S + 10.0

PROBE = """
import sys, time, urllib.error, urllib.request
end, wanted, urls = time.monotonic() + float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def refusal(url):
    try:
        urllib.request.urlopen(url, timeout=3).close()
    except urllib.error.HTTPError as error:
        return "%s answers %d: %s" % (url, error.code, error.read(300).decode(errors="replace").strip())
    except OSError as error:
        return "%s does not answer: %s" % (url, error)

good, said = 0, "it does not answer in time"
while good < wanted and time.monotonic() < end:
    refused = next(filter(None, map(refusal, urls)), None)
    good, said = (0, refused) if refused else (good + 1, said)
    time.sleep(0.1)
print(said if good < wanted else "")
sys.exit(good < wanted)
"""
"""Runs on the kube host until every URL has answered so often in a row, or so many seconds are over."""


class HealthGate(Resource):
    """Inputs: `site`, `service`, `version` of its pods, the kube host's `address`, and the `urls` that must answer."""

    inputs = ("site", "service", "version", "address", "urls")
    compared = ("site", "service", "version")
    """Where and how it is asked is no reason to ask again."""
    replaced_by = ("site", "service")

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Nobody waits any longer."""
        self._cancelled.set()

    def diff(self, olds: Properties, news: Properties) -> DiffResponse:
        """Whether the pods are others than those that were asked."""
        return differences(plain_map(olds), plain_map(news), self.compared, self.replaced_by)

    async def create(self, news: Properties, call: Call) -> tuple[str, Properties]:
        """Ask."""
        if not call.preview:
            await asyncio.to_thread(self._ask, plain_map(news), call)
        return f"{plain(news['site'])}/{plain(news['service'])}", news

    async def update(self, resource_id: str, olds: Properties, news: Properties, call: Call) -> Properties:
        """Ask the new pods."""
        if not call.preview:
            await asyncio.to_thread(self._ask, plain_map(news), call)
        return news

    def _ask(self, values: dict[str, Any], call: Call) -> None:
        told, reason = f"{values['site']}: {values['service']}", ""
        for _ in range(ATTEMPTS):
            if self._cancelled.is_set():
                raise ResourceFailed(f"{told}: not asked to the end whether it works, the run was cancelled")
            reason = self._refusal(values)
            if not reason:
                call.say(f"{told}: answers")
                return
        raise ResourceFailed(
            f"{told}: its new pods are ready, but it does not work: {reason}. No site after it is changed. "
            "Mend the cause and run the same command again, or go back to the version before"
        )

    def _refusal(self, values: dict[str, Any]) -> str:
        argv = ["/usr/bin/python3", "-c", PROBE, str(PATIENCE_S), str(IN_A_ROW), *values["urls"]]
        try:
            done = ssh.run(ssh.Access.default(), values["address"], argv, timeout_s=SSH_S)
        except ssh.HostUnreachable as error:
            self._cancelled.wait(PATIENCE_S)
            return error.message
        said = (done.stdout or done.stderr).decode(errors="replace").strip()
        return "" if done.returncode == 0 else said or f"the question ended with exit code {done.returncode}"
