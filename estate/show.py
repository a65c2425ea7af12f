"""The estate as tables and as one document. Plain data: whoever prints it decides how."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

import yaml

from estate.addressing import AddressPlan, Dual, DualNetwork, plan
from estate.model import Estate

Language = Literal["zh", "en"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under a title and column heads, both in zh and en. Every row is as long as `columns`."""

    name: str
    title: dict[Language, str]
    columns: dict[Language, tuple[str, ...]]
    rows: tuple[tuple[str, ...], ...]

    def as_dict(self) -> dict[str, object]:
        """For `--json`: a list of objects keyed by the English column heads."""
        return {self.name: [dict(zip(self.columns["en"], row, strict=True)) for row in self.rows]}


def tables(estate: Estate) -> tuple[Table, ...]:
    """All that `estate show` prints, from the whole to the parts."""
    computed = plan(estate)
    return (
        places(estate, computed),
        hosts(estate, computed),
        links(estate),
        services(estate, computed),
        database(estate),
        clusters(estate, computed),
        vantages(estate),
    )


def places(estate: Estate, computed: AddressPlan) -> Table:
    """Sites and peers with their AS number and segment."""
    own = {site.name for site in estate.sites}
    return Table(
        name="places",
        title={"zh": "中心与外部网络", "en": "Sites and peers"},
        columns={
            "zh": ("名称", "中文", "英文", "归属", "自治系统号", "IPv4 网段", "IPv6 网段"),
            "en": ("name", "zh", "en", "managed by", "AS", "IPv4 segment", "IPv6 segment"),
        },
        rows=tuple(
            (
                place.name,
                place.title.zh,
                place.title.en,
                "us" if place.name in own else "peer",
                str(place.asn),
                str(computed.segments[place.name].ipv4),
                str(computed.segments[place.name].ipv6),
            )
            for place in estate.places
        ),
    )


def hosts(estate: Estate, computed: AddressPlan) -> Table:
    """Machines with what they are for and where they are reached."""
    return Table(
        name="hosts",
        title={"zh": "主机", "en": "Hosts"},
        columns={
            "zh": ("名称", "所在", "类型", "网段 IPv4", "网段 IPv6", "管理地址", "角色"),
            "en": ("name", "at", "kind", "lan IPv4", "lan IPv6", "management", "parts"),
        },
        rows=tuple(
            (
                host.name,
                host.at,
                host.kind.value,
                str(computed.lan(host.name).ipv4),
                str(computed.lan(host.name).ipv6),
                str(computed.management(host.name)),
                ", ".join(part for part, on in (("database", host.database), ("etcd vote", host.etcd_votes)) if on),
            )
            for host in estate.hosts
        ),
    )


def links(estate: Estate) -> Table:
    """Circuits with the path they lie in. Delay is one way."""
    return Table(
        name="links",
        title={"zh": "链路", "en": "Links"},
        columns={
            "zh": ("名称", "一端", "另一端", "路由（管道）", "单向时延 ms", "带宽 Mbit/s"),
            "en": ("name", "one end", "other end", "path", "delay ms", "Mbit/s"),
        },
        rows=tuple(
            (link.name, *link.ends, link.path, f"{link.delay_ms:g}", f"{link.bandwidth_mbit:g}")
            for link in estate.links
        ),
    )


def services(estate: Estate, computed: AddressPlan) -> Table:
    """Services with their anycast addresses and objectives."""
    return Table(
        name="services",
        title={"zh": "服务与目标", "en": "Services and objectives"},
        columns={
            "zh": ("名称", "中文", "运行于", "待命于", "任播地址", "RTO s", "RPO 笔", "可用性", "p99 ms"),
            "en": ("name", "zh", "active", "ready", "anycast", "RTO s", "RPO records", "availability", "p99 ms"),
        },
        rows=tuple(
            (
                service.name,
                service.title.zh,
                ", ".join(service.placement.active),
                ", ".join(service.placement.ready),
                both(computed.anycast[service.name]),
                f"{service.objectives.rto_s:g}",
                str(service.objectives.rpo_records),
                f"{service.objectives.availability:.2%}",
                f"{service.objectives.latency_p99_ms:g}",
            )
            for service in estate.services
        ),
    )


def database(estate: Estate) -> Table:
    """Who may be primary and who acknowledges."""
    declared = estate.database
    part = dict.fromkeys(declared.promotable, "promotable") | dict.fromkeys(declared.acknowledging, "acknowledging")
    return Table(
        name="database",
        title={"zh": "数据库成员", "en": "Database members"},
        columns={"zh": ("主机", "中心", "角色"), "en": ("host", "site", "part")},
        rows=tuple((host.name, host.at, part.get(host.at, "")) for host in estate.database_members),
    )


def clusters(estate: Estate, computed: AddressPlan) -> Table:
    """Kubernetes clusters with their nodes and prefixes; no rows where there is none."""
    return Table(
        name="clusters",
        title={"zh": "Kubernetes 集群", "en": "Kubernetes clusters"},
        columns={
            "zh": ("中心", "版本", "节点", "Pod 网段", "集群地址"),
            "en": ("site", "version", "nodes", "pods", "cluster addresses"),
        },
        rows=tuple(
            (
                cluster.site,
                cluster.version,
                ", ".join(host.name for host in estate.nodes_at(cluster.site)),
                both(computed.clusters[cluster.site].pods),
                both(computed.clusters[cluster.site].cluster_ips),
            )
            for cluster in estate.clusters
        ),
    )


def vantages(estate: Estate) -> Table:
    """From where the services are used and measured."""
    return Table(
        name="vantages",
        title={"zh": "观测点", "en": "Vantages"},
        columns={"zh": ("名称", "中文", "主机", "使用的服务"), "en": ("name", "zh", "host", "reaches")},
        rows=tuple((v.name, v.title.zh, v.host, ", ".join(v.reaches)) for v in estate.vantages),
    )


def both(address: Dual | DualNetwork) -> str:
    """Both families in one cell."""
    return f"{address.ipv4}, {address.ipv6}"


def to_json(estate: Estate) -> dict[str, object]:
    """Every table as a list of objects, for `estate show --json`."""
    document: dict[str, object] = {"name": estate.name, "title": {"zh": estate.title.zh, "en": estate.title.en}}
    for table in tables(estate):
        document |= table.as_dict()
    return document


def to_text(estate: Estate, lang: Language) -> str:
    """Every table as aligned text with its title, ending with a line feed."""
    title = estate.title.zh if lang == "zh" else estate.title.en
    return "\n\n".join([f"{title} ({estate.name})", *(aligned(table, lang) for table in tables(estate))]) + "\n"


def aligned(table: Table, lang: Language) -> str:
    """Title, heads and rows in columns as wide as their widest cell; a Chinese character takes two places."""
    rows = (table.columns[lang], *table.rows)
    widths = [max(places_of(row[index]) for row in rows) for index in range(len(table.columns[lang]))]
    lines = [
        "  ".join(cell + " " * (width - places_of(cell)) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(
        [table.title[lang], "  " + lines[0].rstrip(), "  " + rule, *("  " + line.rstrip() for line in lines[1:])]
    )


def places_of(text: str) -> int:
    """How many character places a terminal gives to the text."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def to_yaml(estate: Estate) -> str:
    """One document that `estate check --file` accepts and that loads to the same estate."""
    document = estate.model_dump(mode="json", exclude_defaults=False)
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
