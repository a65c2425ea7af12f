"""The declared estate as frozen, typed values.

One parse at the door (`estate.loader`), then every part may trust what it holds. Units are in the field names:
`_ms` milliseconds, `_s` seconds, `_mbit` megabit per second, `_mib` mebibytes. Nothing here knows a tool.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from estate.field_types import (
    MOUNT,
    USER,
    VERSION,
    AddressText,
    Asn,
    Count,
    Flag,
    HostName,
    LinkName,
    Name,
    Positive,
    Prefix4,
    Prefix6,
    TitleText,
)


class Value(BaseModel):
    """Base of all values: frozen, no unknown field, no silent coercion of text into numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, str_strip_whitespace=False)


class HostRole(StrEnum):
    """What a host is for. The first four are ours; the others stand at a peer."""

    EDGE = "edge"
    KUBE = "kube"
    DATA = "data"
    OPS = "ops"
    PEER_ROUTER = "peer-router"
    PEER_SERVER = "peer-server"
    VANTAGE = "vantage"


class Title(Value):
    """A name for people, in both languages."""

    zh: TitleText
    en: TitleText


class Site(Value):
    """A data centre of the city. Carries no role in its name, because roles move."""

    name: Name
    title: Title
    city: Name
    number: Annotated[int, Field(ge=1, le=63, strict=True)]
    """Place in the address plan; never reused, so that addresses do not move when a site is added."""
    asn: Asn


class Peer(Value):
    """A network that someone else runs, at the far end of links: the province, the internet, the bureaus."""

    name: Name
    title: Title
    managed_by: Literal["peer"]
    number: Annotated[int, Field(ge=1, le=63, strict=True)]
    asn: Asn
    prefix4: Prefix4
    prefix6: Prefix6
    """What the peer may announce to us; anything else is refused at the border."""


class Pool(Value):
    """A pair of prefixes, one of each family, from which addresses are computed."""

    ipv4: Prefix4
    ipv6: Prefix6


class Networks(Value):
    """The prefixes of the unified government network. Every address is computed from these."""

    sites: Pool
    """Split per site: IPv4 /24, IPv6 /64, by the site's number."""
    links: Pool
    """Split per link: IPv4 /31, IPv6 /127, by the link's number."""
    loopbacks: Pool
    """One /32 and /128 for each router."""
    management: Pool
    """Out of band: every host's `mgmt0`. Never routed."""
    services: Pool
    """Public anycast prefixes, announced to the peers as a whole."""


class Link(Value):
    """A circuit between two routers."""

    name: LinkName
    number: Annotated[int, Field(ge=1, le=1023, strict=True)]
    ends: tuple[Name, Name]
    """The two routers that terminate it."""
    path: Name
    """The duct or carrier. Links that share a path fail together."""
    delay_ms: Annotated[float, Field(ge=0, le=1000, strict=True)]
    """One way."""
    bandwidth_mbit: Annotated[float, Field(gt=0, le=400000, strict=True)]


class Disk(Value):
    """The host's own data disk, of fixed size."""

    size_mib: Annotated[int, Field(ge=64, le=16 * 1024 * 1024, strict=True)]
    mount: Annotated[str, Field(pattern=MOUNT)]


class Platform(Value):
    """What a host stands on and how it is reached; the lab gives addresses and keys itself."""

    address: AddressText | None = None
    """Management address when it is not the computed one."""
    user: Annotated[str, Field(pattern=USER)] = "root"
    nested: Flag = False
    """Shares its kernel with others, as a container does: kernel-wide settings and control groups are not its own."""
    cgroups: Literal["v1", "v2"] | None = None
    """Version of the control groups; None takes whichever the host has. A kubelet refuses v1 only where v2 is named."""


class Host(Value):
    """A machine. `at` names a site or a peer."""

    name: Name
    at: Name
    kind: HostRole
    number: Annotated[int, Field(ge=1, le=199, strict=True)]
    """Place in the site's prefix: the last octet of its IPv4 address."""
    cpus: Annotated[float, Field(gt=0, le=1024, strict=True)] = 1.0
    memory_mib: Annotated[int, Field(ge=64, strict=True)] = 512
    etcd_votes: Annotated[int, Field(ge=0, le=1, strict=True)] = 0
    database: Flag = False
    """Runs a member of the PostgreSQL cluster."""
    disk: Disk | None = None
    platform: Platform = Platform()


class Objectives(Value):
    """What a service promises."""

    rto_s: Positive
    """Longest time without an acknowledged write after the loss of a site."""
    rpo_records: Count
    """Acknowledged records that may be lost."""
    read_outage_s: Positive
    availability: Annotated[float, Field(gt=0, lt=1, strict=True)]
    """Share of 100 ms windows in which every request succeeded, over a year."""
    latency_p99_ms: Positive


class Demand(Value):
    """What a service needs in one site when that site carries the whole load alone."""

    rate_per_s: Positive
    cpus: Positive
    memory_mib: Annotated[int, Field(gt=0, strict=True)]


class Placement(Value):
    """Where a service runs: announced at `active`, started and ready but announced last at `ready`."""

    active: tuple[Name, ...] = Field(min_length=1)
    ready: tuple[Name, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """All of them, those that serve first."""
        return (*self.active, *self.ready)


class Pods(Value):
    """What a service's pods are given in the sites' clusters."""

    replicas: dict[Name, Annotated[int, Field(ge=1, le=50, strict=True)]]
    """How many, by site. While a new version comes, each site has one more."""
    cpus: Positive
    """What the scheduler sets aside for each; a pod may use more while nobody else needs it."""
    memory_mib: Annotated[int, Field(ge=32, strict=True)]
    """What each may use at most, set aside from the start."""


class Quota(Value):
    """What a bureau may use at each site, each of which carries all load alone when it must."""

    cpus: Positive
    memory_mib: Annotated[int, Field(ge=64, strict=True)]
    pods: Annotated[int, Field(ge=1, le=1000, strict=True)]
    """Two more than run are needed for a new version: one that starts, one that ends and counts until it is gone."""


class Backend(Value):
    """Pods of the bureau's own, by their label `app.kubernetes.io/name`, and the port on which they listen."""

    pods: Name
    port: Annotated[int, Field(ge=1024, le=65535, strict=True)]


class Gateway(Value):
    """The way in to a bureau's own workloads: pods in its namespace that end TLS, out of its quota."""

    number: Annotated[int, Field(ge=1, le=50, strict=True)]
    """Place among the fixed addresses of a cluster."""
    hosts: dict[HostName, Backend] = Field(min_length=1)
    """Where requests go, by the host name that they ask for."""
    replicas: Annotated[int, Field(ge=2, le=20, strict=True)] = 2
    cpus: Positive = 0.1
    memory_mib: Annotated[int, Field(ge=48, strict=True)] = 64
    """Of each pod; at every site with a cluster there are `replicas` of them."""


class Bureau(Value):
    """A part of the city's government that has workloads here: a namespace of its name on every cluster."""

    name: Name
    title: Title
    quota: Quota
    gateway: Gateway | None = None

    @property
    def gateway_name(self) -> str:
        """Of the gateway's Service and pods, in the bureau's namespace."""
        return f"{self.name}-gateway"

    @property
    def group(self) -> str:
        """To which its people's certificates belong."""
        return f"bureau:{self.name}"


class Service(Value):
    """A workload that the platform promises to its users."""

    name: Name
    title: Title
    bureau: Name
    """Whose it is, and in whose namespace it runs."""
    number: Annotated[int, Field(ge=1, le=199, strict=True)]
    """Place in the anycast prefixes."""
    placement: Placement
    objectives: Objectives
    demand: Demand
    pods: Pods


class Vantage(Value):
    """A place from which the estate is used and measured."""

    name: Name
    title: Title
    host: Name
    reaches: tuple[Name, ...] = Field(min_length=1)
    """Names of the services that it uses."""


class Database(Value):
    """The replicated database: which sites' members may be promoted, and which only acknowledge."""

    scope: Name
    promotable: tuple[Name, ...] = Field(min_length=2)
    """The first is where the primary belongs when nothing is the matter: `failback` brings it there."""
    acknowledging: tuple[Name, ...] = Field(min_length=1)
    """Sites whose member acknowledges commits but is never promoted without a person."""
    ttl_s: Annotated[int, Field(ge=20, le=600, strict=True)]
    loop_wait_s: Annotated[int, Field(ge=1, le=60, strict=True)]
    retry_timeout_s: Annotated[int, Field(ge=3, le=60, strict=True)]


class Registers(Value):
    """Size of the synthetic registers of the agencies."""

    people: Annotated[int, Field(ge=100, le=20_000_000, strict=True)]
    seed: Annotated[int, Field(ge=0, strict=True)]


class Cluster(Value):
    """The Kubernetes cluster of a site: its first kube host runs the control plane, all of them are nodes."""

    site: Name
    version: Annotated[str, Field(pattern=VERSION)]


class Kubernetes(Value):
    """Kubernetes in the estate. A site without an entry in `clusters` has none."""

    pods: Pool
    """Split per site by its number (/16, /56), and per node by the host's number (/24, /64). Never leave the site."""
    cluster_ips: Pool
    """Addresses of Kubernetes' Services, split per site by its number (/20, /112). Exist on the nodes only."""
    clusters: tuple[Cluster, ...] = ()


class Estate(Value):
    """Everything the city runs, as declared."""

    name: Name
    title: Title
    lab: Flag
    """True where the estate may be destroyed: the only place where `destroy` works."""
    sites: tuple[Site, ...] = Field(min_length=1)
    peers: tuple[Peer, ...]
    networks: Networks
    links: tuple[Link, ...]
    hosts: tuple[Host, ...] = Field(min_length=1)
    database: Database
    bureaus: tuple[Bureau, ...]
    services: tuple[Service, ...] = Field(min_length=1)
    vantages: tuple[Vantage, ...]
    registers: Registers
    kubernetes: Kubernetes | None = None

    def site(self, name: str) -> Site:
        """The site of that name; KeyError with the known names where there is none."""
        return _named(self.sites, name, "site")

    def peer(self, name: str) -> Peer:
        """The peer of that name; KeyError where there is none."""
        return _named(self.peers, name, "peer")

    def host(self, name: str) -> Host:
        """The host of that name; KeyError where there is none."""
        return _named(self.hosts, name, "host")

    def link(self, name: str) -> Link:
        """The link of that name; KeyError where there is none."""
        return _named(self.links, name, "link")

    def service(self, name: str) -> Service:
        """The service of that name; KeyError where there is none."""
        return _named(self.services, name, "service")

    def bureau(self, name: str) -> Bureau:
        """The bureau of that name; KeyError where there is none."""
        return _named(self.bureaus, name, "bureau")

    def services_of(self, bureau: str) -> tuple[Service, ...]:
        """The services that a bureau answers for."""
        return tuple(service for service in self.services if service.bureau == bureau)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """The Kubernetes clusters, in declared order."""
        return self.kubernetes.clusters if self.kubernetes else ()

    def cluster_at(self, site: str) -> Cluster | None:
        """The site's Kubernetes cluster, where it has one."""
        return next((cluster for cluster in self.clusters if cluster.site == site), None)

    def nodes_at(self, site: str) -> tuple[Host, ...]:
        """Nodes of the site's cluster, the one with the control plane first; empty where there is no cluster."""
        return self.hosts_at(site, HostRole.KUBE) if self.cluster_at(site) else ()

    @property
    def managed_hosts(self) -> tuple[Host, ...]:
        """Hosts at our sites, in declared order: what the stacks deploy."""
        names = {site.name for site in self.sites}
        return tuple(host for host in self.hosts if host.at in names)

    @property
    def peer_hosts(self) -> tuple[Host, ...]:
        """Hosts at peers: never deployed by us; the lab imitates them."""
        names = {peer.name for peer in self.peers}
        return tuple(host for host in self.hosts if host.at in names)

    def hosts_at(self, place: str, kind: HostRole | None = None) -> tuple[Host, ...]:
        """Hosts of a site or peer, of one kind where given."""
        return tuple(h for h in self.hosts if h.at == place and (kind is None or h.kind is kind))

    def links_of(self, host: str) -> tuple[Link, ...]:
        """Links that end at the router `host`."""
        return tuple(link for link in self.links if host in link.ends)

    def router_of(self, place: str) -> Host:
        """The first router of a site or peer: the default gateway of its segment."""
        for host in self.hosts:
            if host.at == place and host.kind in (HostRole.EDGE, HostRole.PEER_ROUTER):
                return host
        raise KeyError(f"no router at {place}")

    @property
    def places(self) -> tuple[Site | Peer, ...]:
        """Sites, then peers: wherever a host can stand."""
        return (*self.sites, *self.peers)

    def place(self, name: str) -> Site | Peer:
        """The site or peer of that name; KeyError where there is none."""
        return _named(self.places, name, "site or peer")

    def asn_of(self, host: str) -> int:
        """AS number of the site or peer at which the router stands."""
        return self.place(self.host(host).at).asn

    @property
    def etcd_members(self) -> tuple[Host, ...]:
        """Hosts with a vote, in declared order."""
        return tuple(host for host in self.hosts if host.etcd_votes)

    @property
    def database_members(self) -> tuple[Host, ...]:
        """Hosts with a member of the PostgreSQL cluster, in declared order."""
        return tuple(host for host in self.hosts if host.database)


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)


def _named(values: tuple[Named, ...], name: str, what: str) -> Named:
    for value in values:
        if value.name == name:
            return value
    raise KeyError(f"unknown {what} {name!r}; known: {', '.join(v.name for v in values)}")


def field_names() -> list[str]:
    """Every field that an estate may have, at any depth: to guess what a misspelt one was meant to be."""
    return sorted({name for kind in Value.__subclasses__() for name in kind.model_fields})
