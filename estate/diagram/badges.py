"""The badges (pills) on a machine that show its roles, with their colours and their texts in the legend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from estate.diagram.i18n import Translator
from estate.model import Estate, Host, HostRole


@dataclass(frozen=True, kw_only=True)
class BadgeStyle:
    """Texts on the pill and in the legend, both in zh and en, and the colours."""

    words: tuple[str, str]
    meaning: tuple[str, str]
    fill: str
    ink: str


class Badge(Enum):
    """All badges of machines, in the legend's order."""

    SERVICE = BadgeStyle(
        words=("服务", "service"),
        meaning=("此服务的 Pod 在此运行", "pods of this service run here"),
        fill="#d9eeee",
        ink="#14565c",
    )
    CONTROL = BadgeStyle(
        words=("控制面", "control plane"),
        meaning=("集群的 API 与其 etcd", "the cluster's API and its etcd"),
        fill="#cfe3e4",
        ink="#14565c",
    )
    REGISTRY = BadgeStyle(
        words=("镜像仓库", "registry"),
        meaning=("本中心的容器镜像", "the site's own container images"),
        fill="#e6eef0",
        ink="#14565c",
    )
    DATABASE = BadgeStyle(
        words=("PostgreSQL", "PostgreSQL"), meaning=("数据库成员", "database member"), fill="#c9d9ea", ink="#22384f"
    )
    PROMOTABLE = BadgeStyle(
        words=("可升主库", "promotable"),
        meaning=("可自动升为主库", "may become primary by itself"),
        fill="#dde6f0",
        ink="#22384f",
    )
    ACKNOWLEDGING = BadgeStyle(
        words=("仅确认", "acknowledges"),
        meaning=("须经人工确认才可升为主库", "primary only after approval"),
        fill="#eef1f4",
        ink="#22384f",
    )
    VOTE = BadgeStyle(
        words=("仲裁票", "etcd vote"),
        meaning=("决定主库归属的一票", "one of the votes that decide who is primary"),
        fill="#f5dfe4",
        ink="#a8435a",
    )
    MONITORS = BadgeStyle(
        words=("监控", "monitors"),
        meaning=("Prometheus 与告警规则", "Prometheus with alert rules"),
        fill="#efe9d5",
        ink="#5d4f24",
    )


def badges_of(estate: Estate, host: Host, translator: Translator) -> list[tuple[Badge, str]]:
    """Return the pills of a machine from top to bottom, with their texts."""
    found: list[tuple[Badge, str]] = []
    if host.kind is HostRole.KUBE:
        placed = (s for s in estate.services if host.at in s.placement.sites)
        found += [(Badge.SERVICE, translator.line(service.title.zh, service.name)) for service in placed]
    shown = {
        Badge.CONTROL: estate.is_control_plane(host),
        Badge.REGISTRY: estate.is_control_plane(host),
        Badge.DATABASE: host.database,
        Badge.PROMOTABLE: host.database and host.at in estate.database.promotable,
        Badge.ACKNOWLEDGING: host.database and host.at not in estate.database.promotable,
        Badge.VOTE: bool(host.etcd_votes),
        Badge.MONITORS: host.kind is HostRole.OPS,
    }
    return found + [(badge, label_of(badge, translator)) for badge, on in shown.items() if on]


def label_of(badge: Badge, translator: Translator) -> str:
    """Return the text of the pill. A name that is equal in both languages appears once."""
    zh, en = badge.value.words
    return zh if zh == en else translator.line(zh, en)
