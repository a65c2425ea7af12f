"""The hosts of one stack: a `Playbook` for each, in the order in which a live estate is changed.

Hosts that are not managed yet are built in parallel, also after a first build that failed half-way: an etcd member
cannot become ready before the others have started. Each managed host waits for the one before it, so that a bad change
stops at the first host. Sites that only acknowledge come before the city sites, and a site's router before the hosts
behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pulumi

from estate.model import Estate, Host, HostRole
from playbooks.host_spec import HostSpec
from playbooks.secrets import Secrets
from stacks.components import resources

Render = Callable[[Host, Secrets | None], HostSpec]


class Hosts(pulumi.ComponentResource):
    """The playbooks of a stack's hosts, by host name.

    Hosts at the sites in `without` are declared, but no resource waits for them. The engine excludes them.
    """

    playbooks: Mapping[str, resources.Playbook]

    def __init__(
        self,
        name: str,
        *,
        hosts: tuple[Host, ...],
        addresses: Mapping[str, str],
        instance: str,
        render: Render,
        secrets: pulumi.Output[Secrets | None],
        guards: Mapping[str, Mapping[str, Any]],
        built: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
        guarded: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("govcloud:stacks:Hosts", name, None, opts)
        playbooks: dict[str, resources.Playbook] = {}
        managed: list[pulumi.Resource] = []
        alive: list[pulumi.Resource] = []
        for host in hosts:
            # The engine copies excluded hosts unchanged from the state, with their dependencies there. So all those
            # dependencies must be declared before the excluded host.
            before = managed if host.at in without else alive[-1:]
            playbooks[host.name] = playbook = resources.Playbook(
                f"{name}-{host.name}",
                host=host.name,
                address=addresses[host.name],
                instance=instance,
                wanted=_wanted(host, render, secrets),
                guard=guards.get(host.at, {}),
                opts=pulumi.ResourceOptions(
                    parent=self,
                    depends_on=list(before) if host.name in built else [],
                    protect=guarded,
                    retain_on_delete=guarded,
                ),
            )
            if host.name in built:
                managed.append(playbook)
                if host.at not in without:
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


def _wanted(host: Host, render: Render, secrets: pulumi.Output[Secrets | None]) -> pulumi.Output[HostSpec]:
    return pulumi.Output.unsecret(secrets.apply(lambda values: render(host, values)))
