"""Checks before a run that the hosts and clusters answer.

It reports an unreachable site in seconds, with the option that excludes it.
"""

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
"""Longer than ssh needs to notice that a shared connection is dead."""
ATTEMPTS = 2
"""A busy host may miss one attempt."""
ANSWER_S = 5.0
"""For one connection to a daemon of a cluster."""
PATIENCE_S = 10.0
"""For a cluster whose daemons are restarting."""
COMING_UP_S = 60.0
"""For a cluster whose host was configured or powered on a moment ago."""
PAUSE_S = 0.5
DAEMONS = {"Kubernetes API server": API_PORT, "image registry": REGISTRY_PORT}


class SiteUnreachable(GovcloudError):
    """Hosts that must be compared or changed are unreachable. Nothing was started."""


def check_hosts(estate: Estate, hosts: Iterable[Host], access: ssh.Access) -> None:
    """Raise `SiteUnreachable` if a host is unreachable. The connections stay open for the run."""
    wanted = list(hosts)
    missing = dict.fromkeys((host.name for host in wanted), "")
    for _ in range(ATTEMPTS):
        asked = [host for host in wanted if host.name in missing]
        reasons = ssh.on_each(asked, lambda host: _reason(estate, access, host))
        missing = {host.name: reason for host, reason in zip(asked, reasons, strict=True) if reason}
        if not missing:
            return
    raise unreachable(wanted, missing)


def unreachable(wanted: Iterable[Host], missing: Mapping[str, str]) -> SiteUnreachable:
    """Return the error for unreachable hosts. It names unreachable sites as a whole, and other hosts
    one by one.

    `missing` is the reason by host name.
    """
    sites: dict[str, list[str]] = {}
    for host in wanted:
        sites.setdefault(host.at, []).append(host.name)
    dead = [site for site, names in sites.items() if all(name in missing for name in names)]
    parts = [
        f"{site} does not answer: all its hosts are unreachable ({', '.join(sites[site])}: {missing[sites[site][0]]})"
        for site in dead
    ]
    whole = {name for site in dead for name in sites[site]}
    parts += [f"{name} is unreachable: {why}" for name, why in missing.items() if name not in whole]
    affected = [site for site, names in sites.items() if any(name in missing for name in names)]
    flags = " ".join(f"--without {site}" for site in affected)
    if len(affected) == len(sites):
        next_step = "repair the hosts or the management network; `./govcloud status` shows which hosts can be reached"
    else:
        next_step = (
            f"repair the host, or exclude the site: add {flags} to the command; "
            "when it answers again, `./govcloud up` deploys the missed changes"
        )
    return SiteUnreachable("\n".join(parts), f"nothing was changed; {next_step}")


def check_clusters(context: Context, only: Container[str] | None = None, patience_s: float = PATIENCE_S) -> None:
    """Raise `SiteUnreachable` if a cluster's API server or a site's image registry does not answer in time.

    Clusters at excluded sites are not checked. `only` limits the check to some sites.
    """
    silent = unreachable_clusters(context, only, patience_s)
    if not silent:
        return
    fresh = [site for site in silent if site not in context.clusters]
    if fresh:
        next_step = "its cluster does not exist yet: run `./govcloud up` without naming stacks"
    elif len(silent) == len(context.estate.clusters):
        next_step = "repair the clusters: `./govcloud up` without naming stacks repairs their hosts first"
    else:
        flags = " ".join(f"--without {site}" for site in silent)
        next_step = (
            "repair it (`./govcloud up` without naming stacks repairs its host first), or exclude the site: "
            f"add {flags} to the command; when it answers again, `./govcloud up` deploys the missed changes"
        )
    raise SiteUnreachable("\n".join(f"{site}: {reason}" for site, reason in silent.items()), next_step)


def unreachable_clusters(
    context: Context, only: Container[str] | None = None, patience_s: float = PATIENCE_S
) -> dict[str, str]:
    """Return the daemon that does not answer and the reason, by site."""
    hosts = [host for host in stack_hosts(context.estate, PLATFORM) if host.at not in context.without]
    asked = [host for host in hosts if only is None or host.at in only]
    deadline = time.monotonic() + patience_s
    found = ssh.on_each(asked, lambda host: _unreachable_daemon(address_of(context, host), deadline))
    return {host.at: reason for host, reason in zip(asked, found, strict=True) if reason}


def _unreachable_daemon(address: str, deadline: float) -> str:
    """Return which daemon does not answer before the deadline, and why. Return "" if all answer."""
    for what, port in DAEMONS.items():
        while reason := _handshake_error(address, port):
            if time.monotonic() > deadline:
                return f"the {what} at {address}:{port} does not answer: {reason}"
            time.sleep(PAUSE_S)
    return ""


def _handshake_error(address: str, port: int) -> str:
    """Return why the port makes no TLS handshake, or "" if it does. The callers verify the daemon's identity later."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address, port), ANSWER_S) as connection:
            with unverified.wrap_socket(connection):
                return ""
    except (TimeoutError, ssl.SSLEOFError) as error:
        return str(error) or "timed out"
    except ssl.SSLError:
        return ""  # the daemon answered: it demands a client certificate
    except OSError as error:
        return error.strerror or str(error)


def _reason(estate: Estate, access: ssh.Access, host: Host) -> str:
    """Return why the host is unreachable, or "" if it answers."""
    address = str(address_plan(estate).management(host.name))
    try:
        ssh.run(access, address, ["true"], timeout_s=TIMEOUT_S)
    except ssh.HostUnreachable as error:
        return error.message
    return ""
