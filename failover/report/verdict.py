"""The verdict in one sentence, and the list of improvements.

Pure: it derives codes and figures from a result. The texts are in `messages.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Estate
from failover.report.messages import message, site_titles
from failover.result import DrillResult

NOTICEABLE_S = 1.0
SLOW_REJOIN_S = 60.0
NOTICEABLE_LATE_MS = 50.0


@dataclass(frozen=True, kw_only=True)
class Problem:
    """An improvement to make. A `grave` one is a reason of a failed drill; the others are next improvements."""

    grave: bool
    text: str


def number(value: float) -> str:
    """Format a number for readers: 4,210 · 21.4 · 0.05."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}".rstrip("0").rstrip(".")


def sentence(result: DrillResult, estate: Estate, lang: str) -> str:
    """Return the verdict in one sentence: the facts that a manager wants to know first."""
    f, c, o = result.evidence.metrics, result.evidence.comparison, result.objectives
    outages = message(
        "sentence", "felt", lang, happened=result.words.happened.of(lang, target=target_title(result, estate, lang)),
        write=number(f.write_outage_s), read=number(f.read_outage_s), rto=number(o.rto_s),
        read_promise=number(o.read_outage_s),
    )  # fmt: skip
    data = message(
        "sentence", "safe" if c.clean else "unsafe", lang, count=number(f.acknowledged), lost=len(c.lost),
        duplicated=len(c.duplicated), appeared=len(c.appeared),
    )  # fmt: skip
    return outages + data + message("sentence", result.verdict.value, lang) + _latency(result, lang)


def target_title(result: DrillResult, estate: Estate, lang: str) -> str:
    """Return the title of the fault's object: a site's title, otherwise its name."""
    return site_titles(estate, lang).get(result.target, result.target)


def _latency(result: DrillResult, lang: str) -> str:
    """Return a sentence about a missed latency objective. It says that the verdict does not count the latency."""
    missed = missed_latency(result)
    return message("sentence", "latency", lang, **missed) if missed else ""


def missed_latency(result: DrillResult) -> dict[str, object] | None:
    """Return the p99 of writes and its objective if the p99 is higher, otherwise None.

    The objective is for a whole year's use, so the verdict does not count it.
    """
    p99, promised = result.evidence.metrics.write_latency.p99_ms, result.objectives.latency_p99_ms
    return {"p99": number(round(p99, 1)), "promised": number(promised)} if p99 is not None and p99 > promised else None


def problems(result: DrillResult, estate: Estate, lang: str) -> tuple[Problem, ...]:
    """Return the improvements, the most serious first. It is never empty: a perfect drill gets a suggestion too."""
    moments = result.words.moments(lang)
    grave = tuple(
        Problem(
            grave=True,
            text=message(
                "findings",
                r.code,
                lang,
                measured=number(r.measured or 0),
                promised=number(r.promised or 0),
                detail=_detail(r.code, result, estate, lang),
                advice=result.words.slow_writes.of(lang),
                **moments,
            ),
        )
        for r in result.reasons
    )
    minor = tuple(
        Problem(grave=False, text=message("findings", code, lang, **v, **moments)) for code, v in _minor(result, lang)
    )
    return grave + minor or (Problem(grave=False, text=message("findings", "nothing", lang)),)


def _detail(code: str, result: DrillResult, estate: Estate, lang: str) -> str:
    """Return the detail of a reason in the reader's language. `Reason.detail` is the form for programs."""
    if code == "not_whole":
        titles = site_titles(estate, lang)
        return ("；" if lang == "zh" else "; ").join(
            p.text("zh" if lang == "zh" else "en", titles) for p in result.remaining
        )
    if code == "measurement" and not result.evidence.ledger.complete:
        return message("measurement", "cut", lang)
    f = result.evidence.metrics
    return message("measurement", "late", lang, not_sent=f.not_sent, late=f"{f.lateness_p99_ms:g}")


def _minor(result: DrillResult, lang: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield code and figures of improvements that are no reason against a pass."""
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
            yield "rejoin", {"took": number(round(took, 1)), "advice": result.words.meanwhile.of(lang)}
    back = result.after_heal
    if back and back.failed:
        share = f"{back.failed / back.due:.1%}"
        yield "after_heal", {"failed": number(back.failed), "due": number(back.due), "share": share,
                             "outage": number(round(back.outage_s, 2)),
                             "advice": result.words.after_heal.of(lang)}  # fmt: skip
    if NOTICEABLE_S < f.write_outage_s <= o.rto_s:
        yield "margin", {"share": f"{f.write_outage_s / o.rto_s:.0%}"}
