"""What was measured, as tiles in two groups: what the verdict counts, and what is told beside it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failover.report.verdict import number
from failover.result import DrillResult


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure. `note` tells what is promised of it, or from when it counts. `share` is the part of the promise that
    was used, in percent up to 100; None where no bar is drawn. `kept` is None where nothing hangs on it."""

    name: str
    measured: str
    note: str
    share: float | None = None
    kept: bool | None = None


Words = dict[str, str]


def counted(result: DrillResult, words: Words) -> tuple[Tile, ...]:
    """What the verdict counts: it is a pass where, and only where, each of these is kept and the measurement is
    sound."""
    f, o = result.evidence.figures, result.objectives
    c = result.evidence.comparison
    wrong = len(c.lost) + len(c.duplicated) + len(c.appeared)
    rows_kept = len(c.lost) <= o.rpo_records and not c.duplicated and not c.appeared
    whole = result.healthy_wall is not None
    return (
        _outage("write_outage", f.write_outage_s, o.rto_s, words),
        _outage("read_outage", f.read_outage_s, o.read_outage_s, words),
        Tile(name=words["wrong_rows"], measured=number(wrong), note=_promised(str(o.rpo_records), words),
             share=0.0 if rows_kept else 100.0, kept=rows_kept),
        Tile(name=words["whole"], measured=words["yes" if whole else "never"], note=words["whole_note"], kept=whole),
    )  # fmt: skip


def beside(result: DrillResult, words: Words) -> tuple[Tile, ...]:
    """What is measured and no part of the verdict: objectives that hold for a year's use, and times without any."""
    f, o = result.evidence.figures, result.objectives
    p99 = f.write_latency.p99_ms
    dark = number(round((result.restored_wall or result.injected_wall) - result.injected_wall))
    found = [
        Tile(name=words["availability_tile"], measured=f"{100 * f.availability:.2f} %",
             note=words["for_a_year"].format(value=f"≥ {100 * o.availability:g} %"))
    ]  # fmt: skip
    if p99 is not None:
        note = words["for_a_year"].format(value=words["at_most"].format(value=f"{number(o.latency_p99_ms)} ms"))
        found.insert(0, Tile(name=words["latency_tile"], measured=f"{number(round(p99, 1))} ms", note=note))
    # None where the site has no pods, or they did not answer while the drill lasted: then it is not whole either.
    if result.pods_serving_s is not None:
        found.append(_time("pods_serving", result.pods_serving_s, words["pods_note"], words))
    if back := result.return_of_power:
        note = words["return_note"].format(due=number(back.due))
        found.append(Tile(name=words["return_tile"], measured=number(back.failed), note=note))
    if result.recovery_s is not None:
        found.append(_time("recovery", result.recovery_s, words["recovery_note"].format(dark=dark), words))
    return tuple(found)


def _outage(name: str, measured: float, promised: float, words: Words) -> Tile:
    told = words["second"].format(value=number(promised))
    return Tile(
        name=words[name], measured=words["second"].format(value=number(round(measured, 2))),
        note=_promised(told, words), share=min(100.0, 100 * measured / promised), kept=measured <= promised,
    )  # fmt: skip


def _promised(value: str, words: Words) -> str:
    return f"{words['promised']} {words['at_most'].format(value=value)}"


def _time(name: str, seconds: float, note: str, words: Words) -> Tile:
    return Tile(name=words[name], measured=words["second"].format(value=number(round(seconds, 1))), note=note)
