"""`govcloud status`: an observation and its problems as one screen, and as one JSON object. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from estate.model import Estate, Link
from estate.tables import display_width
from monitors.health import Language, Problem, Severity, sites_up
from monitors.observe.model import Announcement, Cluster, DatabaseMember, HealthCheck, Observation, Role

TITLES = {
    "sites": {"zh": "中心", "en": "Sites"},
    "links": {"zh": "线路", "en": "Links"},
    "database": {"zh": "数据库", "en": "Database"},
    "service": {"zh": "服务（从各观测点访问）", "en": "Services, from each vantage"},
    "findings": {"zh": "问题", "en": "Problems"},
}
UP, DOWN, PARTLY, UNSEEN = "●", "✗", "◐", "·"


def as_json(estate: Estate, observed: Observation, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the whole observation as plain values. `healthy` is true if there is no problem."""
    return {
        "estate": estate.name,
        "healthy": not problems,
        "primary": observed.primary.host if observed.primary else None,
        "findings": [
            {"code": f.code, "severity": f.severity.name.lower(), "subject": f.subject, "detail": f.detail}
            for f in problems
        ],
        **asdict(observed),
    }


def as_text(estate: Estate, observed: Observation, problems: Sequence[Problem], lang: Language) -> str:
    """Return the screen. It is at most 100 columns wide; a Chinese character takes two columns."""
    parts = [
        _headline(estate, observed, problems, lang),
        _block("sites", lang, _sites(estate, observed, lang)),
        _block("links", lang, _links(estate, observed)),
        _block("database", lang, _database(estate, observed, lang)),
        _block("service", lang, _vantages(estate, observed, lang)),
    ]
    if problems:
        marks = {Severity.CRITICAL: "!!", Severity.WARNING: " !"}
        parts.append(_block("findings", lang, [[marks[f.severity], _one_line(f.text(lang))] for f in problems]))
    return "\n\n".join(parts)


def _headline(estate: Estate, observed: Observation, problems: Sequence[Problem], lang: Language) -> str:
    critical = sum(problem.severity is Severity.CRITICAL for problem in problems)
    if lang == "zh":
        state = "一切正常" if not problems else f"{len(problems)} 个问题，其中 {critical} 个严重"
        return f"{estate.title.zh} · {state} · 观测用时 {observed.took_s:.1f} 秒"
    state = "all is well" if not problems else f"{len(problems)} problems, {critical} critical"
    return f"{estate.title.en} · {state} · observed in {observed.took_s:.1f} s"


def _sites(estate: Estate, observed: Observation, lang: Language) -> list[list[str]]:
    heads = {
        "zh": ["", "中心", "主机", "BGP", "BFD", "仲裁票", "节点", "Pod", "就绪", "写入", "宣告 v4/v6"],
        "en": ["", "site", "hosts", "BGP", "BFD", "votes", "nodes", "pods", "ready", "writes", "announced v4/v6"],
    }
    rows = [heads[lang]]
    for site in estate.sites:
        up, of = sites_up(estate, observed)[site.name]
        sessions = [s for s in observed.sessions if s.site == site.name]
        votes = [v for v in observed.votes if v.site == site.name]
        health = [h for h in observed.sites if h.place == site.name]
        rows.append([
            _mark(up, of),
            site.title.zh if lang == "zh" else site.name,
            f"{up}/{of}",
            f"{sum(s.established for s in sessions)}/{len(sessions)}",
            f"{sum(s.bfd_up is True for s in sessions)}/{len(sessions)}",
            f"{sum(v.healthy for v in votes)}/{len(votes)}" + (" ★" if any(v.leader for v in votes) else ""),
            *_cluster(next((c for c in observed.clusters if c.site == site.name), None)),
            _all_ok(h for h in health if h.path == "readyz"),
            _all_ok(h for h in health if h.path == "writez"),
            _announced(observed, site.name, lang),
        ])  # fmt: skip
    return rows


def _cluster(seen: Cluster | None) -> tuple[str, str]:
    """Return its nodes, and the pods of services and gateways, each ready and needed."""
    if seen is None:
        return UNSEEN, UNSEEN
    if not seen.answers:
        return DOWN, UNSEEN
    ready, wanted = sum(w.ready for w in seen.workloads), sum(max(w.wanted or 0, w.declared) for w in seen.workloads)
    return f"{seen.nodes_ready}/{seen.nodes}", f"{ready}/{wanted}"


def _announced(observed: Observation, site: str, lang: Language) -> str:
    words = {
        Announcement.ANNOUNCED: {"zh": "是", "en": "yes"},
        Announcement.LAST_RESORT: {"zh": "兜底", "en": "last resort"},
        Announcement.WITHDRAWN: {"zh": "否", "en": "no"},
        Announcement.UNKNOWN: {"zh": "?", "en": "?"},
    }
    return " / ".join(words[a.state][lang] for a in observed.announced if a.site == site)


def _links(estate: Estate, observed: Observation) -> list[list[str]]:
    """Return two links per row, so that the estate of a city fits on a screen."""
    cells = [_link(observed, link) for link in estate.links]
    half = (len(cells) + 1) // 2
    empty = [""] * 4
    return [[*cells[i], *(cells[i + half] if i + half < len(cells) else empty)] for i in range(half)]


def _link(observed: Observation, link: Link) -> list[str]:
    sessions = [s for s in observed.sessions if s.link == link.name]
    up = sum(s.established for s in sessions)
    return [_mark(up, len(sessions)), link.name, f"{up}/{len(sessions)}", f"{link.delay_ms:g} ms  {link.path}"]


def _database(estate: Estate, observed: Observation, lang: Language) -> list[list[str]]:
    heads = {
        "zh": ["", "成员", "角色", "状态", "时间线", "落后量", "同步确认"],
        "en": ["", "member", "role", "state", "timeline", "lag", "synchronous"],
    }
    rows = [heads[lang], *(_member(member, lang) for member in observed.members)]
    names = observed.synchronous_standby_names
    if names is not None:
        rows.append(["", "synchronous_standby_names", names or "—"])
    return rows + [["", _forks(member, lang)] for member in observed.members if member.kept_forks]


def _forks(member: DatabaseMember, lang: Language) -> str:
    """Return the note about kept WAL. It is no problem, but a person must read it and then free the disk space.

    The platform itself never removes a fork.
    """
    if lang == "zh":
        return f"{member.host} 留有 {member.kept_forks} 份分叉日志：处理见手册 DatabaseTimelinesDiffer"
    return f"{member.host} keeps WAL of {member.kept_forks} fork(s): see the runbook DatabaseTimelinesDiffer"


def _member(member: DatabaseMember, lang: Language) -> list[str]:
    roles = {
        Role.PRIMARY: {"zh": "主库", "en": "primary"},
        Role.STANDBY: {"zh": "备库", "en": "standby"},
        Role.UNKNOWN: {"zh": "未知", "en": "unknown"},
    }
    primary = member.role is Role.PRIMARY
    lag = "" if primary or member.lag_bytes is None else _size(member.lag_bytes)
    counted = "" if primary else (UP if member.sync else DOWN)
    timeline = "" if member.timeline is None else str(member.timeline)
    return [UP if member.running else DOWN, member.host, roles[member.role][lang], member.state, timeline, lag, counted]


def _vantages(estate: Estate, observed: Observation, lang: Language) -> list[list[str]]:
    heads = {"zh": ["", "观测点", "服务", "", "应答中心", "用时"], "en": ["", "vantage", "service", "", "from", "took"]}
    rows = [heads[lang] + ["healthz", "readyz", "writez"]]
    for vantage in estate.vantages:
        for service in vantage.reaches:
            for family in (4, 6):
                asked = [
                    h
                    for h in observed.vantages
                    if (h.asked_from, h.service, h.family) == (vantage.host, service, family)
                ]
                rows.append(_vantage(vantage.title.zh if lang == "zh" else vantage.name, service, family, asked))
    return rows


def _vantage(name: str, service: str, family: int, asked: list[HealthCheck]) -> list[str]:
    paths = [_all_ok(h for h in asked if h.path == path) for path in ("healthz", "readyz", "writez")]
    sites = ", ".join(sorted({h.site for h in asked if h.site}))
    took = max((h.seconds for h in asked if h.ok and h.seconds is not None), default=None)
    up = sum(h.ok for h in asked)
    return [
        _mark(up, len(asked)), name, service, f"IPv{family}", sites, f"{took * 1000:.0f} ms" if took else "", *paths,
    ]  # fmt: skip


def _all_ok(asked: Iterable[HealthCheck]) -> str:
    seen = list(asked)
    return UNSEEN if not seen else UP if all(h.ok for h in seen) else DOWN


def _mark(up: int, of: int) -> str:
    return UNSEEN if not of else UP if up == of else PARTLY if up else DOWN


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _block(name: str, lang: Language, rows: Sequence[Sequence[str]]) -> str:
    """Return a title over rows in columns; a row with fewer cells may be wider than its columns."""
    longest = max((len(row) for row in rows), default=0)
    widths = [max((display_width(r[i]) for r in rows if len(r) == longest), default=0) for i in range(longest)]
    lines = [TITLES[name][lang]]
    for row in rows:
        cells = [cell + " " * (widths[i] - display_width(cell)) for i, cell in enumerate(row)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
