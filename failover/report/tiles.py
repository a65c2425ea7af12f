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


Messages = dict[str, str]


def verdict_tiles(result: DrillResult, messages: Messages) -> tuple[Tile, ...]:
    """What the verdict counts: it is a pass where, and only where, each of these is kept and the measurement is
    sound."""
    f, o = result.evidence.metrics, result.objectives
    c = result.evidence.comparison
    wrong = len(c.lost) + len(c.duplicated) + len(c.appeared)
    rows_kept = len(c.lost) <= o.rpo_records and not c.duplicated and not c.appeared
    whole = result.healthy_wall is not None
    return (
        _outage("write_outage", f.write_outage_s, o.rto_s, messages),
        _outage("read_outage", f.read_outage_s, o.read_outage_s, messages),
        Tile(name=messages["wrong_rows"], measured=number(wrong), note=_promised(str(o.rpo_records), messages),
             share=0.0 if rows_kept else 100.0, kept=rows_kept),
        Tile(name=messages["whole"], measured=messages["yes" if whole else "never"], note=messages["whole_note"],
             kept=whole),
    )  # fmt: skip


def other_tiles(result: DrillResult, messages: Messages) -> tuple[Tile, ...]:
    """What is measured and no part of the verdict: objectives that hold for a year's use, and times without any."""
    f, o = result.evidence.metrics, result.objectives
    p99 = f.write_latency.p99_ms
    dark = number(round((result.restored_wall or result.injected_wall) - result.injected_wall))
    found = [
        Tile(name=messages["availability_tile"], measured=f"{100 * f.availability:.2f} %",
             note=messages["for_a_year"].format(value=f"≥ {100 * o.availability:g} %"))
    ]  # fmt: skip
    if p99 is not None:
        note = messages["for_a_year"].format(value=messages["at_most"].format(value=f"{number(o.latency_p99_ms)} ms"))
        found.insert(0, Tile(name=messages["latency_tile"], measured=f"{number(round(p99, 1))} ms", note=note))
    # None where the site has no pods, or they did not answer while the drill lasted: then it is not whole either.
    if result.pods_serving_s is not None:
        found.append(_time("pods_serving", result.pods_serving_s, messages["pods_note"], messages))
    if back := result.return_of_power:
        note = messages["return_note"].format(due=number(back.due))
        found.append(Tile(name=messages["return_tile"], measured=number(back.failed), note=note))
    if result.recovery_s is not None:
        found.append(_time("recovery", result.recovery_s, messages["recovery_note"].format(dark=dark), messages))
    return tuple(found)


def _outage(name: str, measured: float, promised: float, messages: Messages) -> Tile:
    told = messages["second"].format(value=number(promised))
    return Tile(
        name=messages[name], measured=messages["second"].format(value=number(round(measured, 2))),
        note=_promised(told, messages), share=min(100.0, 100 * measured / promised), kept=measured <= promised,
    )  # fmt: skip


def _promised(value: str, messages: Messages) -> str:
    return f"{messages['promised']} {messages['at_most'].format(value=value)}"


def _time(name: str, seconds: float, note: str, messages: Messages) -> Tile:
    return Tile(name=messages[name], measured=messages["second"].format(value=number(round(seconds, 1))), note=note)
