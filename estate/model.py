"""The declared estate as frozen, typed values.

`estate.loader` parses and checks it once, and all other code may trust its values. Units are in the field names:
`_ms` milliseconds, `_s` seconds, `_mbit` megabit per second, `_mib` mebibytes. This module imports no tool.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from contracts.loader import ContractError, contract
from contracts.model import Contract
from estate.field_types import (
    DIGITS,
    MOUNT,
    USER,
    VERSION,
    WEB_ADDRESS,
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
    """Role of a host. The first four are our own hosts; the others are at a peer."""

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
    """A data centre of the city. Its name contains no role, because roles move."""

    name: Name
    title: Title
    city: Name
    number: Annotated[int, Field(ge=1, le=63, strict=True)]
    """Number in the address plan. It is never reused, so that addresses stay the same when a site is added."""
    asn: Asn


class Peer(Value):
    """Another organisation's network at the far end of links: the province, the internet, the bureaus."""

    name: Name
    title: Title
    managed_by: Literal["peer"]
    number: Annotated[int, Field(ge=1, le=63, strict=True)]
    asn: Asn
    prefix4: Prefix4
    prefix6: Prefix6
    """Prefixes that the peer may announce to us. The edge routers refuse all others."""


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
    """Out-of-band network of every host's `mgmt0`. It is never routed."""
    services: Pool
    """Public anycast prefixes, announced to the peers as a whole."""


class Link(Value):
    """A circuit between two routers."""

    name: LinkName
    number: Annotated[int, Field(ge=1, le=1023, strict=True)]
    ends: tuple[Name, Name]
    """The two routers at its ends."""
    path: Name
    """The duct or carrier. Links that share a path fail together."""
    delay_ms: Annotated[float, Field(ge=0, le=1000, strict=True)]
    """Delay in one direction."""
    bandwidth_mbit: Annotated[float, Field(gt=0, le=400000, strict=True)]


class Disk(Value):
    """The host's own data disk, of fixed size."""

    size_mib: Annotated[int, Field(ge=64, le=16 * 1024 * 1024, strict=True)]
    mount: Annotated[str, Field(pattern=MOUNT)]


class Platform(Value):
    """The machine below a host and its access. The lab assigns addresses and keys itself."""

    address: AddressText | None = None
    """Management address if it is not the computed one."""
    user: Annotated[str, Field(pattern=USER)] = "root"
    nested: Flag = False
    """Whether it shares its kernel, as a container does. Kernel-wide settings and control groups are then shared."""
    cgroups: Literal["v1", "v2"] | None = None
    """Version of the control groups; None accepts the host's version. A kubelet refuses v1 only if v2 is declared."""


class Host(Value):
    """A machine. `at` names a site or a peer."""

    name: Name
    at: Name
    kind: HostRole
    number: Annotated[int, Field(ge=1, le=199, strict=True)]
    """Number in the site's prefix: the last octet of its IPv4 address."""
    cpus: Annotated[float, Field(gt=0, le=1024, strict=True)] = 1.0
    memory_mib: Annotated[int, Field(ge=64, strict=True)] = 512
    etcd_votes: Annotated[int, Field(ge=0, le=1, strict=True)] = 0
    database: Flag = False
    """Whether it runs a member of the PostgreSQL cluster."""
    disk: Disk | None = None
    platform: Platform = Platform()


class Objectives(Value):
    """Promises of a service."""

    rto_s: Positive
    """Longest time without an acknowledged write after the loss of a site."""
    rpo_records: Count
    """Number of acknowledged records that may be lost."""
    read_outage_s: Positive
    availability: Annotated[float, Field(gt=0, lt=1, strict=True)]
    """Share of 100 ms windows in which every request succeeded, over a year."""
    latency_p99_ms: Positive


class Demand(Value):
    """Capacity that a service needs in one site that carries the whole load alone."""

    rate_per_s: Positive
    cpus: Positive
    memory_mib: Annotated[int, Field(gt=0, strict=True)]


class Placement(Value):
    """Sites of a service. It is announced at `active`. At `ready` it runs too, and is announced as the last choice."""

    active: tuple[Name, ...] = Field(min_length=1)
    ready: tuple[Name, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """All sites, the active sites first."""
        return (*self.active, *self.ready)


class Pods(Value):
    """Number and resources of a service's pods in the sites' clusters."""

    replicas: dict[Name, Annotated[int, Field(ge=1, le=50, strict=True)]]
    """Number of pods by site. During a change of version each site has one more."""
    cpus: Positive
    """Processors that the scheduler reserves for each pod. A pod may use more while they are idle."""
    memory_mib: Annotated[int, Field(ge=32, strict=True)]
    """Maximum memory of each pod, which is reserved from the start."""


class Quota(Value):
    """Capacity that a bureau may use at each site, because each site must be able to carry all load alone."""

    cpus: Positive
    memory_mib: Annotated[int, Field(ge=64, strict=True)]
    pods: Annotated[int, Field(ge=1, le=1000, strict=True)]
    """A change of version needs two more pods: a starting one, and an ending one that counts until it is removed."""


class Backend(Value):
    """The bureau's own pods, by their label `app.kubernetes.io/name`, and their port."""

    pods: Name
    port: Annotated[int, Field(ge=1024, le=65535, strict=True)]


class Gateway(Value):
    """The entry to a bureau's own workloads: pods in its namespace that terminate TLS and count towards its quota."""

    number: Annotated[int, Field(ge=1, le=50, strict=True)]
    """Number among the fixed addresses of a cluster."""
    hosts: dict[HostName, Backend] = Field(min_length=1)
    """Destination of requests, by their host name."""
    replicas: Annotated[int, Field(ge=2, le=20, strict=True)] = 2
    cpus: Positive = 0.1
    memory_mib: Annotated[int, Field(ge=48, strict=True)] = 64
    """Memory of each pod. Every site with a cluster has `replicas` pods."""


class Bureau(Value):
    """A part of the city's government with workloads here. Every cluster has a namespace of its name."""

    name: Name
    title: Title
    quota: Quota
    gateway: Gateway | None = None

    @property
    def gateway_name(self) -> str:
        """Name of the gateway's Service and pods in the bureau's namespace."""
        return f"{self.name}-gateway"

    @property
    def group(self) -> str:
        """Group in the certificates of the bureau's people."""
        return f"bureau:{self.name}"


class Service(Value):
    """A workload that the platform promises to its users."""

    name: Name
    title: Title
    bureau: Name
    """Bureau that owns the service. The service runs in its namespace."""
    number: Annotated[int, Field(ge=1, le=199, strict=True)]
    """Number in the anycast prefixes."""
    placement: Placement
    objectives: Objectives
    demand: Demand
    pods: Pods

    @property
    def contract(self) -> Contract:
        """What the service's software needs. Raises ContractError; `estate.checks` reports it before."""
        return contract(self.name)

    @property
    def public(self) -> bool:
        """Whether citizens reach the service. True for a service without a valid contract, which a rule refuses."""
        try:
            return self.contract.public is not None
        except ContractError:
            return True


class Vantage(Value):
    """A place from which the estate is used and measured."""

    name: Name
    title: Title
    host: Name
    reaches: tuple[Name, ...] = Field(min_length=1)
    """Names of the services that it uses."""


class Database(Value):
    """The replicated database: sites whose members may be promoted, and sites whose members only acknowledge."""

    scope: Name
    promotable: tuple[Name, ...] = Field(min_length=2)
    """Sites for automatic promotion. The first one is the home site of the primary; `failback` moves it there."""
    acknowledging: tuple[Name, ...] = Field(min_length=1)
    """Sites whose member acknowledges commits but is promoted only by an operator."""
    ttl_s: Annotated[int, Field(ge=20, le=600, strict=True)]
    loop_wait_s: Annotated[int, Field(ge=1, le=60, strict=True)]
    retry_timeout_s: Annotated[int, Field(ge=3, le=60, strict=True)]


class Registers(Value):
    """Size of the synthetic registers of the agencies."""

    people: Annotated[int, Field(ge=100, le=20_000_000, strict=True)]
    seed: Annotated[int, Field(ge=0, strict=True)]


class Carrier(Value):
    """The company that delivers text messages: its address, or the host of a peer on which a lab simulates it."""

    url: Annotated[str, Field(pattern=WEB_ADDRESS)] | None = None
    simulated_on: Name | None = None
    deliver_synthetic: Annotated[str, Field(pattern=DIGITS)] | None = None
    """First digits of the mobile numbers of the test population. Only a simulated carrier may get messages to them."""


class Cluster(Value):
    """The Kubernetes cluster of a site: its first kube host runs the control plane, all of them are nodes."""

    site: Name
    version: Annotated[str, Field(pattern=VERSION)]


class Kubernetes(Value):
    """Kubernetes in the estate. A site without an entry in `clusters` has none."""

    pods: Pool
    """Split per site by its number (/16, /56), and per node by the host's number (/24, /64). Used only in the site."""
    cluster_ips: Pool
    """Addresses of Kubernetes Services, split per site by its number (/20, /112). They exist only on the nodes."""
    clusters: tuple[Cluster, ...] = ()


class Estate(Value):
    """The complete declared estate of the city."""

    name: Name
    title: Title
    lab: Flag
    """Whether the estate may be destroyed. `destroy` works only if this is true."""
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
    carrier: Carrier | None = None
    kubernetes: Kubernetes | None = None

    def site(self, name: str) -> Site:
        """Return the site of that name. Raises KeyError with the known names."""
        return _named(self.sites, name, "site")

    def peer(self, name: str) -> Peer:
        """Return the peer of that name. Raises KeyError."""
        return _named(self.peers, name, "peer")

    def host(self, name: str) -> Host:
        """Return the host of that name. Raises KeyError."""
        return _named(self.hosts, name, "host")

    def link(self, name: str) -> Link:
        """Return the link of that name. Raises KeyError."""
        return _named(self.links, name, "link")

    def service(self, name: str) -> Service:
        """Return the service of that name. Raises KeyError."""
        return _named(self.services, name, "service")

    @property
    def public_services(self) -> tuple[Service, ...]:
        """Services that citizens reach, each at an anycast address."""
        return tuple(service for service in self.services if service.public)

    def bureau(self, name: str) -> Bureau:
        """Return the bureau of that name. Raises KeyError."""
        return _named(self.bureaus, name, "bureau")

    def services_of(self, bureau: str) -> tuple[Service, ...]:
        """Return the services that a bureau owns."""
        return tuple(service for service in self.services if service.bureau == bureau)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """The Kubernetes clusters, in declared order."""
        return self.kubernetes.clusters if self.kubernetes else ()

    def cluster_at(self, site: str) -> Cluster | None:
        """Return the site's Kubernetes cluster; None if it has none."""
        return next((cluster for cluster in self.clusters if cluster.site == site), None)

    def nodes_at(self, site: str) -> tuple[Host, ...]:
        """Return the nodes of the site's cluster, the control plane's node first; empty without a cluster."""
        return self.hosts_at(site, HostRole.KUBE) if self.cluster_at(site) else ()

    def is_control_plane(self, host: Host) -> bool:
        """Return whether the host runs the control plane and the image registry of its site's cluster."""
        return host in self.nodes_at(host.at)[:1]

    @property
    def managed_hosts(self) -> tuple[Host, ...]:
        """Hosts at our sites in declared order, which the stacks deploy."""
        names = {site.name for site in self.sites}
        return tuple(host for host in self.hosts if host.at in names)

    @property
    def peer_hosts(self) -> tuple[Host, ...]:
        """Hosts at peers, which we never deploy. The lab imitates them."""
        names = {peer.name for peer in self.peers}
        return tuple(host for host in self.hosts if host.at in names)

    def hosts_at(self, place: str, kind: HostRole | None = None) -> tuple[Host, ...]:
        """Return the hosts of a site or peer, optionally of one kind."""
        return tuple(h for h in self.hosts if h.at == place and (kind is None or h.kind is kind))

    def links_of(self, host: str) -> tuple[Link, ...]:
        """Return the links that end at the router `host`."""
        return tuple(link for link in self.links if host in link.ends)

    def router_of(self, place: str) -> Host:
        """Return the first router of a site or peer: the default gateway of its segment."""
        for host in self.hosts:
            if host.at == place and host.kind in (HostRole.EDGE, HostRole.PEER_ROUTER):
                return host
        raise KeyError(f"no router at {place}")

    @property
    def places(self) -> tuple[Site | Peer, ...]:
        """All possible places of a host: first sites, then peers."""
        return (*self.sites, *self.peers)

    def place(self, name: str) -> Site | Peer:
        """Return the site or peer of that name. Raises KeyError."""
        return _named(self.places, name, "site or peer")

    def asn_of(self, host: str) -> int:
        """Return the AS number of the router's site or peer."""
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
    """Return all field names of an estate at any depth, to suggest the correct name for a misspelt one."""
    return sorted({name for kind in Value.__subclasses__() for name in kind.model_fields})
