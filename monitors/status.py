"""`govcloud status`: an observation and its problems as one screen, and as one JSON object. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from estate.model import Estate
from estate.tables import aligned
from monitors.collector import mark
from monitors.collectors import COLLECTORS, Observation
from monitors.problem import Language, Problem, Severity

MARKS = {Severity.CRITICAL: "!!", Severity.WARNING: " !"}


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
        _table({"zh": "中心", "en": "Sites"}[lang], _sites(estate, observed, lang)),
    ]
    for collector in COLLECTORS:
        if block := collector.block:
            parts.append(_table(block.zh if lang == "zh" else block.en, block.rows(estate, observed, lang)))
    if problems:
        rows = [[MARKS[problem.severity], _one_line(problem.text(lang))] for problem in problems]
        parts.append(_table({"zh": "问题", "en": "Problems"}[lang], rows))
    return "\n\n".join(parts)


def _headline(estate: Estate, observed: Observation, problems: Sequence[Problem], lang: Language) -> str:
    critical = sum(problem.severity is Severity.CRITICAL for problem in problems)
    if lang == "zh":
        state = "一切正常" if not problems else f"{len(problems)} 个问题，其中 {critical} 个严重"
        return f"{estate.title.zh} · {state} · 观测用时 {observed.took_s:.1f} 秒"
    state = "all is well" if not problems else f"{len(problems)} problems, {critical} critical"
    return f"{estate.title.en} · {state} · observed in {observed.took_s:.1f} s"


def _sites(estate: Estate, observed: Observation, lang: Language) -> list[list[str]]:
    columns = [column for collector in COLLECTORS for column in collector.columns]
    chinese = lang == "zh"
    rows = [["", "中心" if chinese else "site", *(column.zh if chinese else column.en for column in columns)]]
    for site in estate.sites:
        cells = [column.cell(observed, site.name, lang) for column in columns]
        rows.append([mark(*observed.hosts_up(site.name)), site.title.zh if chinese else site.name, *cells])
    return rows


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([title, *("  " + line for line in aligned(rows))])
