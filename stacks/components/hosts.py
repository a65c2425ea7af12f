"""The hosts of one stack: a `Playbook` for each, in the order in which a live estate is changed.

Hosts that are not managed yet are built in parallel, also after a first build that failed half-way: an etcd member
cannot become ready before the others have started. Each managed host waits for the one before it, so that a bad change
stops at the first host. Sites that only acknowledge come before the city sites, and a site's router before the hosts
behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from estate.model import Estate, Host, HostRole
from playbooks.host_spec import HostSpec
from stacks.components import resources


@dataclass(frozen=True, kw_only=True)
class DeclaredHost:
    """A host and its wanted state. For `guards` see `providers.last_site_guard.check`.

    A `managed` host was built by an earlier run. A host that is not `reachable` is declared, but no resource waits for
    it. The engine excludes it.
    """

    host: Host
    address: str
    wanted: pulumi.Output[HostSpec]
    guards: Sequence[Mapping[str, Any]]
    managed: bool
    reachable: bool


class Hosts(pulumi.ComponentResource):
    """The playbooks of a stack's hosts, by host name. The engine never deletes a `protected` one."""

    playbooks: Mapping[str, resources.Playbook]

    def __init__(
        self,
        name: str,
        *,
        hosts: Sequence[DeclaredHost],
        instance: str,
        protected: bool = False,
    ) -> None:
        super().__init__("govcloud:stacks:Hosts", name)
        playbooks: dict[str, resources.Playbook] = {}
        managed: list[pulumi.Resource] = []
        alive: list[pulumi.Resource] = []
        for one in hosts:
            # The engine copies excluded hosts unchanged from the state, with their dependencies there. So all those
            # dependencies must be declared before the excluded host.
            before = alive[-1:] if one.reachable else managed
            playbooks[one.host.name] = playbook = resources.Playbook(
                f"{name}-{one.host.name}",
                host=one.host.name,
                address=one.address,
                instance=instance,
                wanted=one.wanted,
                guards=one.guards,
                opts=pulumi.ResourceOptions(
                    parent=self,
                    depends_on=list(before) if one.managed else [],
                    protect=protected,
                    retain_on_delete=protected,
                ),
            )
            if one.managed:
                managed.append(playbook)
                if one.reachable:
                    alive.append(playbook)
        self.playbooks = playbooks
        self.register_outputs({})


def in_order(estate: Estate, hosts: Iterable[Host]) -> tuple[Host, ...]:
    """Return the hosts in the order of a change to a live estate: remote sites first, then the city sites, routers
    first.
    """
    city_sites = set(estate.database.promotable)
    sites = sorted(estate.sites, key=lambda site: (site.name in city_sites, site.number))
    place = {site.name: index for index, site in enumerate(sites)}
    return tuple(sorted(hosts, key=lambda host: (place[host.at], host.kind is not HostRole.EDGE, host.number)))
