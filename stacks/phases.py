"""The stacks of an estate and their order: one stack per site, however many there are.

network -> data -> every site, and province -> platform, where there are Kubernetes clusters
"""

from __future__ import annotations

from estate.model import Estate

NETWORK, DATA, SITE, PROVINCE, PLATFORM = "network", "data", "site", "province", "platform"
WITHOUT_SECRETS = (NETWORK, PROVINCE)
"""Stacks whose hosts get no secret: they may stand before the data stack has made any."""


def stack_names(estate: Estate) -> tuple[str, ...]:
    """All stacks, in the order in which they are built."""
    return tuple(stack for phase in phases(estate) for stack in phase)


def phases(estate: Estate) -> tuple[tuple[str, ...], ...]:
    """Stacks by phase: those of one phase may be built side by side."""
    platform = ((PLATFORM,),) if estate.clusters else ()
    return ((NETWORK,), (DATA,), (*(site.name for site in estate.sites), PROVINCE), *platform)
