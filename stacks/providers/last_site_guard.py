"""The guard that refuses a change to the last serving site that still answers.

For a host at a serving site, the program passes a guard for each public service that is active there: the address of
each serving site and the command that checks it. Before a declared change to the host, all guards check their sites. If
the host's own site answers for a service and no other site does, the change is refused. Two changes are always allowed,
because they repair a site: any change at a site that does not answer, and undoing a manual edit.

`govcloud:index:Permit` does the same check for the pods of a site's service, once for each version of the pods. A
second run of the same version that finds the change half done does not check again. The resource changes nothing, so
it cannot drift, and delete only removes it from the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stacks.providers.resource import Call, ResourceFailed, SiteResource
from workstation import ssh

PROBE_TIMEOUT_S = 10.0


def check(host: str, guards: Iterable[Mapping[str, Any]]) -> None:
    """Check all sites of each guard `{"site", "service", "argv", "at": {site: address}}`. Without guards it passes.

    Raises `ResourceFailed` with every service for which the host's site is the only site that answers.
    """
    if refused := "; ".join(filter(None, ssh.on_each(guards, _refused_by))):
        raise ResourceFailed(f"{host}: not changed: {refused}")


def _refused_by(guard: Mapping[str, Any]) -> str:
    """Return the service and the reason why the guard refuses a change now; empty if it allows the change."""
    access, sites = ssh.Access.default(), guard["at"]
    answers = ssh.on_each(sites.values(), lambda address: _answers(access, address, list(guard["argv"])))
    reason = refusal(guard["site"], dict(zip(sites, answers, strict=True)))
    return reason and f"{guard['service']}: {reason}"


def refusal(site: str, answering: Mapping[str, bool]) -> str:
    """Return the reason why a host at `site` must not be changed now; empty if the change is allowed."""
    others = [name for name in answering if name != site]
    if not answering.get(site) or not others or any(answering[name] for name in others):
        return ""
    return (
        f"{site} is the only site that answers; {', '.join(others)} does not. Restore it first, "
        f"or exclude it with --without {others[0]}"
    )


def _answers(access: ssh.Access, address: str, argv: list[str]) -> bool:
    try:
        return ssh.run(access, address, argv, timeout_s=PROBE_TIMEOUT_S).returncode == 0
    except ssh.HostUnreachable:
        return False


class LastSiteGuard(SiteResource):
    """`govcloud:index:Permit`: the check before the pods of a site's service are replaced.

    Inputs: `site`, `service`, `version` of its pods, and `gate`, the service's guard for `check`.
    """

    inputs = ("site", "service", "version", "gate")
    compared = ("site", "service", "version")
    """A change of `gate` does not start a new check."""
    replaced_by = ("site", "service")

    def act(self, values: dict[str, Any], call: Call) -> None:
        """Check the sites. On a first build no site answers, so the change is allowed."""
        check(f"{values['site']}: pods", [values["gate"]])
