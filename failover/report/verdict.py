"""The verdict in one sentence, and what to mend. Pure: from a result to codes and figures; the words are in the
file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Estate
from failover.report.messages import message, problem_text, site_titles
from failover.result import DrillResult

NOTICEABLE_S = 1.0
SLOW_REJOIN_S = 60.0
NOTICEABLE_LATE_MS = 50.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to mend. `grave` ones made the drill fail; the others are what to better next."""

    grave: bool
    text: str


def number(value: float) -> str:
    """As people read it: 4,210 · 21.4 · 0.05."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}".rstrip("0").rstrip(".")


def sentence(result: DrillResult, estate: Estate, lang: str) -> str:
    """What a manager wants to know first."""
    f, c, o = result.evidence.metrics, result.evidence.comparison, result.objectives
    felt = message(
        "sentence", "felt", lang, site=getattr(estate.site(result.site).title, lang), write=number(f.write_outage_s),
        read=number(f.read_outage_s), rto=number(o.rto_s), read_promise=number(o.read_outage_s),
    )  # fmt: skip
    data = message(
        "sentence", "safe" if c.clean else "unsafe", lang, count=number(f.acknowledged), lost=len(c.lost),
        duplicated=len(c.duplicated), appeared=len(c.appeared),
    )  # fmt: skip
    return felt + data + message("sentence", result.verdict.value, lang) + _latency(result, lang)


def _latency(result: DrillResult, lang: str) -> str:
    """A missed latency is told with the verdict, so that nobody reads it as counted."""
    missed = missed_latency(result)
    return message("sentence", "latency", lang, **missed) if missed else ""


def missed_latency(result: DrillResult) -> dict[str, object] | None:
    """The p99 of writes beside its objective, where it is above it. It holds for a year's use: no part of the
    verdict."""
    p99, promised = result.evidence.metrics.write_latency.p99_ms, result.objectives.latency_p99_ms
    return {"p99": number(round(p99, 1)), "promised": number(promised)} if p99 is not None and p99 > promised else None


def findings(result: DrillResult, estate: Estate, lang: str) -> tuple[Finding, ...]:
    """What to mend, the gravest first; never empty, because even a perfect drill has a next margin."""
    grave = tuple(
        Finding(
            grave=True,
            text=message(
                "findings",
                r.code,
                lang,
                measured=number(r.measured or 0),
                promised=number(r.promised or 0),
                detail=_detail(r.code, result, estate, lang),
            ),
        )
        for r in result.reasons
    )
    minor = tuple(Finding(grave=False, text=message("findings", code, lang, **v)) for code, v in _minor(result))
    return grave + minor or (Finding(grave=False, text=message("findings", "nothing", lang)),)


def _detail(code: str, result: DrillResult, estate: Estate, lang: str) -> str:
    """What a reason adds to its words, in the reader's language; `Reason.detail` is its form for programs."""
    if code == "not_whole":
        titles = site_titles(estate, lang)
        return ("；" if lang == "zh" else "; ").join(problem_text(p, lang, titles) for p in result.remaining)
    if code == "measurement" and not result.evidence.ledger.complete:
        return message("measurement", "cut", lang)
    f = result.evidence.metrics
    return message("measurement", "late", lang, not_sent=f.not_sent, late=f"{f.lateness_p99_ms:g}")


def _minor(result: DrillResult) -> Iterator[tuple[str, dict[str, object]]]:
    """What did not fail the drill and yet deserves work: code and figures."""
    f, c, o = result.evidence.metrics, result.evidence.comparison, result.objectives
    for code, outages in (("writes", f.write_outage_by_family), ("reads", f.read_outage_by_family)):
        four, six = outages.get(4, 0.0), outages.get(6, 0.0)
        if abs(four - six) > NOTICEABLE_S:
            worse = "IPv6" if six > four else "IPv4"
            yield f"families_{code}", {"four": number(four), "six": number(six), "worse": worse}
    if f.write_silence_s > f.write_outage_s + NOTICEABLE_S:
        yield "silence", {"silence": number(f.write_silence_s)}
    if f.reads_stale:
        yield "stale", {"count": number(f.reads_stale)}
    if f.lateness_p99_ms > NOTICEABLE_LATE_MS:
        yield "late", {"late": number(f.lateness_p99_ms)}
    if f.unknown:
        yield "unknown", {"count": number(f.unknown), "present": number(c.unknown_present)}
    if missed := missed_latency(result):
        yield "latency", missed
    if result.restored_wall and result.healthy_wall:
        took = result.healthy_wall - result.restored_wall
        if took > SLOW_REJOIN_S:
            yield "rejoin", {"took": number(round(took, 1))}
    back = result.return_of_power
    if back and back.failed:
        share = f"{back.failed / back.due:.1%}"
        yield "return", {"failed": number(back.failed), "due": number(back.due), "share": share,
                         "outage": number(round(back.outage_s, 2))}  # fmt: skip
    if NOTICEABLE_S < f.write_outage_s <= o.rto_s:
        yield "margin", {"share": f"{f.write_outage_s / o.rto_s:.0%}"}
