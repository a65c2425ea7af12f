"""Renders the page of a result. This module decides the content, the template decides the appearance."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from estate.model import Estate
from failover.ledger.metrics import percentile
from failover.report import svg, tiles
from failover.report.json_report import as_json
from failover.report.messages import LANGUAGES, Titles, event_text, page_messages, site_titles, source_name
from failover.report.verdict import number, problems, sentence, target_title
from failover.result import DrillResult, Event

QUIET = frozenset({"step"})
"""Codes of events that only the JSON contains, not the page."""


def write(result: DrillResult, estate: Estate, folder: Path) -> None:
    """Write `report.zh.html`, `report.en.html` and `report.json` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for lang in LANGUAGES:
        (folder / f"report.{lang}.html").write_text(render(result, estate, lang), encoding="utf-8")
    text = json.dumps(as_json(result), ensure_ascii=False, indent=2) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")


def render(result: DrillResult, estate: Estate, lang: str) -> str:
    """Render the self-contained page in one language."""
    messages = page_messages(lang, result.words.moments(lang))
    titles = site_titles(estate, lang)
    events = reported_events(result)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("failover.report", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        w=messages, lang=lang, result=result, number=number, f=result.evidence.metrics, c=result.evidence.comparison,
        estate_title=getattr(estate.title, lang), title=getattr(result.title, lang),
        target=target_title(result, estate, lang), sentence=sentence(result, estate, lang),
        verdict=messages[result.verdict.value], findings=problems(result, estate, lang),
        groups=[(code, messages[code], tiles_of(result, messages))
                for code, tiles_of in (("counted", tiles.verdict_tiles), ("beside", tiles.other_tiles))],
        timeline=Markup(_timeline(result, events, messages, lang, titles)),
        availability=Markup(svg.availability(result.evidence.metrics.windows, result.injected_s)),
        latency=Markup(_latency(result, messages)),
        events=[(n, f"{result.at_s(e.wall):+.1f}", event_text(e, lang, titles), source_name(e.source, lang), e.source)
                for n, e in enumerate(events, start=1)],
        when=datetime.fromtimestamp(result.started_wall, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        method=messages["method"].format(**_conditions(result, estate)), table=ledger_table(result, messages),
        bad_windows=sum(not w.succeeded for w in result.evidence.metrics.windows),
    )  # fmt: skip


def ledger_table(result: DrillResult, messages: dict[str, str]) -> list[tuple[str, int, str, str]]:
    """Return the rows of the data ledger: name, count, meaning, and one of good, neutral and bad."""
    f, c = result.evidence.metrics, result.evidence.comparison
    unknown = messages["unknown_is"].format(present=c.unknown_present, absent=c.unknown_absent)
    bad = [("lost", len(c.lost)), ("duplicated", len(c.duplicated)), ("appeared", len(c.appeared))]
    return [
        (messages["acknowledged"], f.acknowledged, messages["acknowledged_is"], "good"),
        (messages["refused"], f.refused, messages["refused_is"], "neutral"),
        (messages["unknown"], f.unknown, unknown, "neutral"),
        *((messages[name], count, messages[f"{name}_is"], "bad" if count else "good") for name, count in bad),
    ]


def reported_events(result: DrillResult) -> list[Event]:
    """Return the events of the page by time: the recorded events, and the begin and end of the ledger's outages."""
    f = result.evidence.metrics
    found = [event for event in result.events if event.code not in QUIET]
    for kind, gap in (("writes", f.write_gap), ("reads", f.read_gap)):
        if gap.length_s > 0:
            start = result.evidence.ledger.started_wall_s
            found.append(Event(wall=start + gap.start_s, code=f"{kind}_stop", source="applicant"))
            if gap.ended:
                length = number(round(gap.length_s, 2))
                found.append(Event(wall=start + gap.end_s, code=f"{kind}_return", source="applicant", detail=length))
    return sorted(found, key=lambda event: event.wall)


def _scale(result: DrillResult) -> svg.Scale:
    end = result.evidence.metrics.duration_s - result.injected_s
    return svg.Scale(begin_s=min(-result.injected_s, -1.0), end_s=max(end, 1.0))


def _timeline(result: DrillResult, events: list[Event], messages: dict[str, str], lang: str, titles: Titles) -> str:
    f, at = result.evidence.metrics, result.injected_s
    lanes = []
    for kind, gap in (("writes", f.write_gap), ("reads", f.read_gap)):
        columns = tuple(
            (w.start_s - at, getattr(w, f"{kind}_due"), getattr(w, f"{kind}_ok"))
            for w in f.windows
            if getattr(w, f"{kind}_due")
        )
        label = messages["outage"].format(value=number(round(gap.length_s, 2)))
        shifted = replace(gap, start_s=gap.start_s - at, end_s=gap.end_s - at)
        lanes.append(svg.Lane(name=messages[kind], columns=columns, gap=shifted, gap_label=label))
    markers = [
        svg.Marker(number=n, at_s=result.at_s(e.wall), source=e.source, title=event_text(e, lang, titles))
        for n, e in enumerate(events, start=1)
    ]
    end = result.restored_wall or result.evidence.ledger.started_wall_s + f.duration_s
    label = result.words.lasts.of(lang, target=titles.get(result.target, result.target))
    return svg.timeline(_scale(result), lanes, markers, (0.0, result.at_s(end), label))


def _latency(result: DrillResult, messages: dict[str, str]) -> str:
    """Draw median and maximum of each second's writes, by the second in which they were due."""
    by_second: dict[int, list[float]] = defaultdict(list)
    for entry in result.evidence.ledger.of("write"):
        answered = entry.attempts[0].answered_s if entry.first_acknowledged else None
        if answered is not None:
            by_second[int(entry.scheduled_s)].append(1000 * (answered - entry.scheduled_s))
    seconds = [
        (second - result.injected_s, percentile(sorted(values), 50) or 0.0, max(values))
        for second, values in sorted(by_second.items())
    ]
    promised = result.objectives.latency_p99_ms
    labels = {
        "max": messages["max"],
        "median": messages["median"],
        "promise": f"{messages['promised']} {number(promised)} ms",
    }
    return svg.latency(_scale(result), seconds, promised, labels)


def _conditions(result: DrillResult, estate: Estate) -> dict[str, Any]:
    header, f = result.evidence.ledger.header, result.evidence.metrics
    vantage = next((v.host for v in estate.vantages), "?")
    return {
        "vantage": vantage, "rate": number(result.rate_per_s), "timeout": number(header.get("timeout_s", 0)),
        "deadline": number(header.get("deadline_s", 0)), "late": number(round(f.lateness_p99_ms, 1)),
    }  # fmt: skip
