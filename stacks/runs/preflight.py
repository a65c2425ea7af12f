"""Before anything is begun: are the hosts there? A dead site is told in seconds, with the flag that leaves it out."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Container, Iterable, Mapping

from estate.addressing import plan as address_plan
from estate.model import Estate, Host
from playbooks.render.kubernetes.cluster import API_PORT, REGISTRY_PORT
from stacks.phases import PLATFORM
from stacks.programs.context import Context, address_of
from stacks.programs.stack_hosts import stack_hosts
from workstation import ssh
from workstation.errors import GovcloudError

TIMEOUT_S = 15.0
"""Longer than ssh takes to notice that a connection which it keeps open leads nowhere."""
ATTEMPTS = 2
"""A busy host may miss one."""
ANSWER_S = 5.0
"""For one connection to a cluster's daemon."""
PATIENCE_S = 10.0
"""For a cluster whose daemons restart."""
COMING_UP_S = 60.0
"""For a cluster whose host was configured, or got its power back, a moment ago."""
PAUSE_S = 0.5
DAEMONS = {"Kubernetes API server": API_PORT, "image registry": REGISTRY_PORT}


class SiteUnreachable(GovcloudError):
    """Hosts that are to be compared or changed are not reached; nothing was begun."""


def check_hosts(estate: Estate, hosts: Iterable[Host], access: ssh.Access) -> None:
    """Raises `SiteUnreachable` where one of them is not reached. The connections stay open for what follows."""
    wanted = list(hosts)
    missing = dict.fromkeys((host.name for host in wanted), "")
    for _ in range(ATTEMPTS):
        looked = [host for host in wanted if host.name in missing]
        reasons = ssh.on_each(looked, lambda host: _reason(estate, access, host))
        missing = {host.name: reason for host, reason in zip(looked, reasons, strict=True) if reason}
        if not missing:
            return
    raise unreachable(wanted, missing)


def unreachable(wanted: Iterable[Host], missing: Mapping[str, str]) -> SiteUnreachable:
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
    return SiteUnreachable("\n".join(parts), f"nothing was changed; {next_step}")


def check_clusters(context: Context, only: Container[str] | None = None, patience_s: float = PATIENCE_S) -> None:
    """Raises `SiteUnreachable` where a cluster's API server or a site's image registry does not answer in time.

    Clusters at dead sites are not asked; `only` limits it to those of some sites.
    """
    silent = unreachable_clusters(context, only, patience_s)
    if not silent:
        return
    fresh = [site for site in silent if site not in context.clusters]
    if fresh:
        next_step = "its cluster is not there yet: run `./govcloud up` without naming stacks"
    elif len(silent) == len(context.estate.clusters):
        next_step = "bring them back; `./govcloud up` without naming stacks repairs their hosts first"
    else:
        flags = " ".join(f"--without {site}" for site in silent)
        next_step = (
            "bring it back (`./govcloud up` without naming stacks repairs its host first), or leave the site out: "
            f"add {flags} to the command; the first `./govcloud up` after its return catches up"
        )
    raise SiteUnreachable("\n".join(f"{site}: {reason}" for site, reason in silent.items()), next_step)


def unreachable_clusters(
    context: Context, only: Container[str] | None = None, patience_s: float = PATIENCE_S
) -> dict[str, str]:
    """By site, what does not answer and why."""
    hosts = [host for host in stack_hosts(context.estate, PLATFORM) if host.at not in context.without]
    asked = [host for host in hosts if only is None or host.at in only]
    deadline = time.monotonic() + patience_s
    found = ssh.on_each(asked, lambda host: _silent(address_of(context, host), deadline))
    return {host.at: reason for host, reason in zip(asked, found, strict=True) if reason}


def _silent(address: str, deadline: float) -> str:
    """Which daemon does not answer before the deadline, and why; empty where all do."""
    for what, port in DAEMONS.items():
        while reason := _refusal(address, port):
            if time.monotonic() > deadline:
                return f"the {what} at {address}:{port} does not answer: {reason}"
            time.sleep(PAUSE_S)
    return ""


def _refusal(address: str, port: int) -> str:
    """Why nobody shakes hands there; empty where somebody does. Who it is, its callers find out."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address, port), ANSWER_S) as connection:
            with anyone.wrap_socket(connection):
                return ""
    except (TimeoutError, ssl.SSLEOFError) as error:
        return str(error) or "timed out"
    except ssl.SSLError:
        return ""  # it has answered: it wants to know who calls
    except OSError as error:
        return error.strerror or str(error)


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
