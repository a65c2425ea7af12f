"""The stacks of an estate and their order. There is one stack per site, for any number of sites.

network -> data -> all sites and province -> platform (only if there are Kubernetes clusters)
"""

from __future__ import annotations

from estate.model import Estate

NETWORK, DATA, SITE, PROVINCE, PLATFORM = "network", "data", "site", "province", "platform"
WITHOUT_SECRETS = (NETWORK, PROVINCE)
"""Stacks whose hosts get no secret. They can be deployed before the data stack has made the secrets."""


def stack_names(estate: Estate) -> tuple[str, ...]:
    """Return all stacks in deployment order."""
    return tuple(stack for phase in phases(estate) for stack in phase)


def phases(estate: Estate) -> tuple[tuple[str, ...], ...]:
    """Return the stacks by phase. Stacks of one phase may be deployed in parallel."""
    platform = ((PLATFORM,),) if estate.clusters else ()
    return ((NETWORK,), (DATA,), (*(site.name for site in estate.sites), PROVINCE), *platform)
