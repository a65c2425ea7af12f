"""The hosts that a stack configures."""

from __future__ import annotations

from estate.model import Estate, Host
from stacks.components.hosts import in_order
from stacks.phases import PLATFORM, SITE


def stack_kind(estate: Estate, stack: str) -> str:
    """Return the stack's kind, as `playbooks.role_assignment` names it. The stack of a site has the kind `site`."""
    return SITE if stack in {site.name for site in estate.sites} else stack


def stack_hosts(estate: Estate, stack: str) -> tuple[Host, ...]:
    """Return the hosts that a stack configures, in the order of a change to a live estate.

    For the platform, these are the hosts through which it reaches the clusters.
    """
    from playbooks.role_assignment import hosts_of

    if stack == PLATFORM:
        return in_order(estate, (estate.nodes_at(cluster.site)[0] for cluster in estate.clusters))
    kind = stack_kind(estate, stack)
    return in_order(estate, (host for host in hosts_of(estate, kind) if kind != SITE or host.at == stack))
