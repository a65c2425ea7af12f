"""The estate as tables and as one document. The data is plain; the caller decides on the output format."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import yaml

from estate.addressing import AddressPlan, Dual, plan
from estate.checks.capacity import spare_capacity
from estate.model import Bureau, Estate, HostRole, Pool

Language = Literal["zh", "en"]
Bilingual = dict[Language, str]

ROLE_LABELS = {
    HostRole.EDGE: ("边界路由器", "edge router"),
    HostRole.KUBE: ("应用服务器", "applications"),
    HostRole.DATA: ("数据服务器", "data"),
    HostRole.OPS: ("运维服务器", "operations"),
    HostRole.PEER_ROUTER: ("对端路由器", "peer router"),
    HostRole.PEER_SERVER: ("对端服务器", "peer server"),
    HostRole.VANTAGE: ("观测点", "vantage"),
}
"""Labels of each kind in zh and en. English tables have the kind itself."""
LABELS: dict[str, Bilingual] = {
    "us": {"zh": "本市", "en": "us"},
    "peer": {"zh": "对端", "en": "peer"},
    "database": {"zh": "数据库", "en": "database"},
    "vote": {"zh": "仲裁票", "en": "etcd vote"},
    "promotable": {"zh": "可升为主库", "en": "promotable"},
    "acknowledging": {"zh": "仅确认提交", "en": "acknowledging"},
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text with a title and column heads, in one language. Every row has the length of `columns`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(estate: Estate, lang: Language) -> tuple[Table, ...]:
    """Return all tables of `estate show`, from the overview to the details."""
    computed = plan(estate)
    return (
        places(estate, computed, lang),
        hosts(estate, computed, lang),
        links(estate, lang),
        services(estate, computed, lang),
        bureaus(estate, computed, lang),
        database(estate, lang),
        clusters(estate, computed, lang),
        vantages(estate, lang),
    )


def places(estate: Estate, computed: AddressPlan, lang: Language) -> Table:
    """Return sites and peers with their AS number and segment."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("名称", "中文", "归属", "自治系统号", "IPv4 网段", "IPv6 网段"),
        "en": ("name", "title", "run by", "AS", "IPv4 segment", "IPv6 segment"),
    }
    own = {site.name for site in estate.sites}
    rows = tuple(
        (
            place.name,
            getattr(place.title, lang),
            LABELS["us" if place.name in own else "peer"][lang],
            str(place.asn),
            str(computed.segments[place.name].ipv4),
            str(computed.segments[place.name].ipv6),
        )
        for place in estate.places
    )
    return Table(title={"zh": "中心与外部网络", "en": "Sites and peers"}[lang], columns=heads[lang], rows=rows)


def hosts(estate: Estate, computed: AddressPlan, lang: Language) -> Table:
    """Return machines with their roles and addresses."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("名称", "所在", "类型", "网段 IPv4", "网段 IPv6", "管理地址", "职责"),
        "en": ("name", "at", "kind", "lan IPv4", "lan IPv6", "management", "parts"),
    }
    rows = tuple(
        (
            host.name,
            getattr(estate.place(host.at).title, lang) if lang == "zh" else host.at,
            ROLE_LABELS[host.kind][0] if lang == "zh" else host.kind.value,
            str(computed.lan(host.name).ipv4),
            str(computed.lan(host.name).ipv6),
            str(computed.management(host.name)),
            joined([LABELS[part][lang] for part, on in (("database", host.database), ("vote", host.etcd_votes)) if on],
                   lang),
        )
        for host in estate.hosts
    )  # fmt: skip
    return Table(title={"zh": "主机", "en": "Hosts"}[lang], columns=heads[lang], rows=rows)


def links(estate: Estate, lang: Language) -> Table:
    """Return circuits with their path. The delay is for one direction."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("名称", "一端", "另一端", "路径", "单向时延 ms", "带宽 Mbit/s"),
        "en": ("name", "one end", "other end", "path", "delay ms", "Mbit/s"),
    }
    rows = tuple(
        (link.name, *link.ends, link.path, f"{link.delay_ms:g}", f"{link.bandwidth_mbit:g}") for link in estate.links
    )
    return Table(title={"zh": "线路", "en": "Links"}[lang], columns=heads[lang], rows=rows)


def services(estate: Estate, computed: AddressPlan, lang: Language) -> Table:
    """Return services with their anycast addresses and objectives."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("名称", "中文", "运行于", "待命于", "任播地址", "RTO s", "RPO 笔", "可用性", "p99 ms"),
        "en": ("name", "title", "active", "ready", "anycast", "RTO s", "RPO records", "availability", "p99 ms"),
    }
    rows = tuple(
        (
            service.name,
            getattr(service.title, lang),
            sites(estate, service.placement.active, lang),
            sites(estate, service.placement.ready, lang),
            both_families(computed.anycast[service.name]) if service.public else "",
            f"{service.objectives.rto_s:g}",
            str(service.objectives.rpo_records),
            f"{service.objectives.availability:.2%}",
            f"{service.objectives.latency_p99_ms:g}",
        )
        for service in estate.services
    )
    return Table(title={"zh": "服务与目标", "en": "Services and objectives"}[lang], columns=heads[lang], rows=rows)


def bureaus(estate: Estate, computed: AddressPlan, lang: Language) -> Table:
    """Return each bureau's quota at every site with a cluster, the total, and the share of the smallest site."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("名称", "中文", "服务", "每中心处理器", "每中心内存 MiB", "每中心 Pod", "合计处理器",
               "合计内存 MiB", "占集群容量", "网关", "任播地址"),
        "en": ("name", "title", "services", "CPUs at each site", "MiB at each site", "pods at each site", "CPUs in all",
               "MiB in all", "of the capacity", "gateway", "anycast"),
    }  # fmt: skip
    rows = tuple(
        (
            bureau.name,
            getattr(bureau.title, lang),
            joined([service.name for service in estate.services_of(bureau.name)], lang),
            f"{bureau.quota.cpus:g}",
            str(bureau.quota.memory_mib),
            str(bureau.quota.pods),
            f"{bureau.quota.cpus * len(estate.clusters):g}",
            str(bureau.quota.memory_mib * len(estate.clusters)),
            f"{max(quota_shares(estate, bureau).values(), default=0):.0%}",
            joined(list(bureau.gateway.hosts), lang) if bureau.gateway else "",
            both_families(computed.gateways[bureau.name]) if bureau.gateway else "",
        )
        for bureau in estate.bureaus
    )
    title: Bilingual = {"zh": "委办局（命名空间与配额）", "en": "Bureaus: a namespace and a quota on every cluster"}
    return Table(title=title[lang], columns=heads[lang], rows=rows)


def gateway_as_json(bureau: Bureau, computed: AddressPlan) -> dict[str, object] | None:
    """Return a gateway for JSON. Host names are values, because as keys they would need quotes in readers' queries."""
    if not bureau.gateway:
        return None
    hosts = [{"host": host, "pods": one.pods, "port": one.port} for host, one in bureau.gateway.hosts.items()]
    anycast = by_family(computed.gateways[bureau.name])
    return {**bureau.gateway.model_dump(mode="json"), "hosts": hosts, "anycast": anycast}


def quota_shares(estate: Estate, bureau: Bureau) -> dict[str, float]:
    """Return the bureau's share of each cluster site: of its processors or its memory, the larger share."""
    offered = {cluster.site: spare_capacity(estate, cluster.site) for cluster in estate.clusters}
    return {
        site: max(bureau.quota.cpus / found.cpus, bureau.quota.memory_mib / found.memory_mib)
        for site, found in offered.items()
    }


def database(estate: Estate, lang: Language) -> Table:
    """Return the sites that may have the primary, and the sites that acknowledge."""
    heads: dict[Language, tuple[str, ...]] = {"zh": ("主机", "中心", "职责"), "en": ("host", "site", "part")}
    rows = tuple(
        (host.name, sites(estate, (host.at,), lang), LABELS[database_role(estate, host.at)][lang])
        for host in estate.database_members
    )
    return Table(title={"zh": "数据库成员", "en": "Database members"}[lang], columns=heads[lang], rows=rows)


def clusters(estate: Estate, computed: AddressPlan, lang: Language) -> Table:
    """Return Kubernetes clusters with their nodes and prefixes; no rows without a cluster."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("中心", "版本", "节点", "Pod 网段", "集群地址"),
        "en": ("site", "version", "nodes", "pods", "cluster addresses"),
    }
    rows = tuple(
        (
            sites(estate, (cluster.site,), lang),
            cluster.version,
            joined([host.name for host in estate.nodes_at(cluster.site)], lang),
            both_families(computed.clusters[cluster.site].pods),
            both_families(computed.clusters[cluster.site].cluster_ips),
        )
        for cluster in estate.clusters
    )
    return Table(title={"zh": "Kubernetes 集群", "en": "Kubernetes clusters"}[lang], columns=heads[lang], rows=rows)


def vantages(estate: Estate, lang: Language) -> Table:
    """Return the vantages from which the services are used and measured."""
    heads: dict[Language, tuple[str, ...]] = {
        "zh": ("名称", "中文", "主机", "使用的服务"),
        "en": ("name", "title", "host", "reaches"),
    }
    rows = tuple((v.name, getattr(v.title, lang), v.host, joined(v.reaches, lang)) for v in estate.vantages)
    return Table(title={"zh": "观测点", "en": "Vantages"}[lang], columns=heads[lang], rows=rows)


def database_role(estate: Estate, site: str) -> str:
    """Return the role of the site's database member: promotable or acknowledging."""
    return "promotable" if site in estate.database.promotable else "acknowledging"


def sites(estate: Estate, names: tuple[str, ...], lang: Language) -> str:
    """Return sites in one cell: their Chinese titles, and the names that commands take in English."""
    return joined([estate.site(name).title.zh if lang == "zh" else name for name in names], lang)


def joined(values: list[str] | tuple[str, ...], lang: Language) -> str:
    """Return several values in one cell."""
    return ("、" if lang == "zh" else ", ").join(values)


def both_families(address: Dual | Pool) -> str:
    """Return both families in one cell."""
    return f"{address.ipv4}, {address.ipv6}"


def to_json(estate: Estate) -> dict[str, object]:
    """Return the estate with its computed addresses for `estate show --json`. The keys contain the units."""
    computed = plan(estate)
    own = {site.name for site in estate.sites}
    return {
        "name": estate.name,
        "title": estate.title.model_dump(),
        "lab": estate.lab,
        "places": [
            {"name": place.name, "title": place.title.model_dump(), "managed_by": "us" if place.name in own else "peer",
             "asn": place.asn, "segment": by_family(computed.segments[place.name])}
            for place in estate.places
        ],
        "hosts": [
            {"name": host.name, "at": host.at, "kind": host.kind.value, "lan": by_family(computed.lan(host.name)),
             "management": str(computed.management(host.name)), "database": host.database,
             "etcd_votes": host.etcd_votes}
            for host in estate.hosts
        ],
        "links": [link.model_dump(mode="json") for link in estate.links],
        "services": [
            {**service.model_dump(mode="json"),
             "anycast": by_family(computed.anycast[service.name]) if service.public else None}
            for service in estate.services
        ],
        "bureaus": [
            {**bureau.model_dump(mode="json"), "gateway": gateway_as_json(bureau, computed), "namespace": bureau.name,
             "group": bureau.group,
             "services": [service.name for service in estate.services_of(bureau.name)],
             "sites": [
                 {"site": site, "share": round(share, 4)} for site, share in quota_shares(estate, bureau).items()
             ]}
            for bureau in estate.bureaus
        ],
        "database": [
            {"host": host.name, "site": host.at, "part": database_role(estate, host.at)}
            for host in estate.database_members
        ],
        "clusters": [
            {"site": cluster.site, "version": cluster.version,
             "nodes": [host.name for host in estate.nodes_at(cluster.site)],
             "pods": by_family(computed.clusters[cluster.site].pods),
             "cluster_ips": by_family(computed.clusters[cluster.site].cluster_ips)}
            for cluster in estate.clusters
        ],
        "vantages": [vantage.model_dump(mode="json") for vantage in estate.vantages],
    }  # fmt: skip


def by_family(pair: Dual | Pool) -> dict[str, str]:
    """Return addresses or prefixes by family."""
    return {"ipv4": str(pair.ipv4), "ipv6": str(pair.ipv6)}


def to_text(estate: Estate, lang: Language) -> str:
    """Return every table as aligned text with its title. It ends with a line feed."""
    title = estate.title.zh if lang == "zh" else estate.title.en
    return "\n\n".join([f"{title} ({estate.name})", *(as_text(table) for table in tables(estate, lang))]) + "\n"


def as_text(table: Table) -> str:
    """Return the title, heads and rows in aligned columns. A Chinese character takes two character cells."""
    heads, *rows = aligned((table.columns, *table.rows))
    rule = "─" * max(map(display_width, (heads, *rows)))
    return "\n".join([table.title, *("  " + line for line in (heads, rule, *rows))])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in aligned columns. A row with fewer cells than others may be wider than its columns."""
    longest = max((len(row) for row in rows), default=0)
    widths = [max(display_width(row[index]) for row in rows if len(row) == longest) for index in range(longest)]
    return [
        "  ".join(cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]


def display_width(text: str) -> int:
    """Return the number of character cells that a terminal needs for the text."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def to_yaml(estate: Estate) -> str:
    """Return one document that `estate check --file` accepts and that loads to the same estate."""
    document = estate.model_dump(mode="json", exclude_defaults=False)
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
