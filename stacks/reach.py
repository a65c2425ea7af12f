"""Before anything is begun: are the hosts there? A dead site is told in seconds, with the flag that leaves it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from estate.addressing import plan as address_plan
from estate.model import Estate, Host
from workstation import ssh
from workstation.errors import GovcloudError

TIMEOUT_S = 15.0
"""Longer than ssh takes to notice that a connection which it keeps open leads nowhere."""
LOOKS = 2
"""A busy host may miss one."""


class SiteDead(GovcloudError):
    """Hosts that are to be compared or changed are not reached; nothing was begun."""


def check(estate: Estate, hosts: Iterable[Host], access: ssh.Access) -> None:
    """Raises `SiteDead` where one of them is not reached. The connections stay open for what follows."""
    wanted = list(hosts)
    missing = dict.fromkeys((host.name for host in wanted), "")
    for _ in range(LOOKS):
        looked = [host for host in wanted if host.name in missing]
        reasons = ssh.on_each(looked, lambda host: _reason(estate, access, host))
        missing = {host.name: reason for host, reason in zip(looked, reasons, strict=True) if reason}
        if not missing:
            return
    raise told(wanted, missing)


def told(wanted: Iterable[Host], missing: Mapping[str, str]) -> SiteDead:
    """The sentence for hosts that are missing, by name with the reason: dead sites by their names, others singly."""
    sites: dict[str, list[str]] = {}
    for host in wanted:
        sites.setdefault(host.at, []).append(host.name)
    dead = [site for site, names in sites.items() if all(name in missing for name in names)]
    parts = [
        f"{site} does not answer: none of its hosts is reached ({', '.join(sites[site])}: {missing[sites[site][0]]})"
        for site in dead
    ]
    parts += [f"{name} is not reached: {why}" for name, why in missing.items() if not _belongs(name, dead, sites)]
    affected = [site for site, names in sites.items() if any(name in missing for name in names)]
    flags = " ".join(f"--without {site}" for site in affected)
    if len(affected) == len(sites):
        next_step = "bring them back, or the management network; `./govcloud status` shows what is reached"
    else:
        next_step = (
            f"bring it back, or leave the site out: add {flags} to the command; "
            "the first `./govcloud up` after its return catches up"
        )
    return SiteDead("\n".join(parts), f"nothing was changed; {next_step}")


def _belongs(name: str, dead: list[str], sites: Mapping[str, list[str]]) -> bool:
    return any(name in sites[site] for site in dead)


def _reason(estate: Estate, access: ssh.Access, host: Host) -> str:
    """Why it is not reached; empty where it is."""
    address = str(host.platform.address or address_plan(estate).management(host.name))
    try:
        ssh.run(access, address, ["true"], timeout_s=TIMEOUT_S)
    except ssh.HostUnreachable as error:
        return error.message
    return ""
