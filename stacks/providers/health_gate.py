"""`govcloud:index:Gate`: check that a site's service works after its pods were replaced, before the next site changes.

Readiness alone is not enough. Pods are ready as soon as they answer, so that a site without a database keeps its page.
A version that starts but cannot decide applications would therefore reach every site. Create and update send requests
to the site's own ingress from its kube host until the service answers several times in a row. The gate changes
nothing, so it cannot drift, and delete only removes it from the state. A failed gate is not recorded. The state
keeps the previous one, so the next run checks again.
"""

from __future__ import annotations

import threading
from typing import Any

from stacks.providers.resource import Call, ResourceFailed, SiteResource
from workstation import ssh

ATTEMPTS, PATIENCE_S = 12, 10
"""Number of attempts, and seconds for each one. The two minutes are ten times the time that a site needs to answer
after a first build. Ctrl-C takes effect between attempts."""
IN_A_ROW = 20
"""Number of successful answers in a row. Each answer may come from another pod, so this finds a pod that cannot write
even if the second pod can. All answers come from the good pod by chance in one of a million sequences; a thousand
sequences fit into two minutes. One sequence takes about two seconds."""
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
"""Program for the kube host. It ends when every URL has answered the given number of times in a row, or after the given
number of seconds."""


class HealthGate(SiteResource):
    """Inputs: `site`, `service`, `version` of its pods, the kube host's `address`, and the `urls` that must answer."""

    inputs = ("site", "service", "version", "address", "urls")
    compared = ("site", "service", "version")
    """A change of `address` or `urls` does not start a new check."""
    replaced_by = ("site", "service")

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop waiting."""
        self._cancelled.set()

    def act(self, values: dict[str, Any], call: Call) -> None:
        """Check the service with the new pods."""
        subject, reason = f"{values['site']}: {values['service']}", ""
        for _ in range(ATTEMPTS):
            if self._cancelled.is_set():
                raise ResourceFailed(f"{subject}: the check of the service did not end, because the run was cancelled")
            reason = self._refusal(values)
            if not reason:
                call.say(f"{subject}: answers")
                return
        raise ResourceFailed(
            f"{subject}: its new pods are ready, but it does not work: {reason}. No later site is changed. "
            "Repair the cause and run the same command again, or roll back to the previous version"
        )

    def _refusal(self, values: dict[str, Any]) -> str:
        argv = ["/usr/bin/python3", "-c", PROBE, str(PATIENCE_S), str(IN_A_ROW), *values["urls"]]
        try:
            done = ssh.run(ssh.Access.default(), values["address"], argv, timeout_s=SSH_S)
        except ssh.HostUnreachable as error:
            self._cancelled.wait(PATIENCE_S)
            return error.message
        said = (done.stdout or done.stderr).decode(errors="replace").strip()
        return "" if done.returncode == 0 else said or f"the check ended with exit code {done.returncode}"
