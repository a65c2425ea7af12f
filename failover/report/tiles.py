"""The measured figures as tiles in two groups: figures that the verdict counts, and other figures. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failover.report.verdict import number
from failover.result import DrillResult


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure.

    - `note`: the promise, or the start of the measured time.
    - `share`: the used part of the promise, in percent up to 100; None for a tile without a bar.
    - `kept`: whether the promise was kept; None if the verdict does not count the figure.
    """

    name: str
    measured: str
    note: str
    share: float | None = None
    kept: bool | None = None


Messages = dict[str, str]


def verdict_tiles(result: DrillResult, messages: Messages) -> tuple[Tile, ...]:
    """Return the figures that the verdict counts. It is a pass if and only if all are kept and the measurement is
    valid."""
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
    """Return the figures outside the verdict: objectives for a whole year's use, and times without an objective."""
    f, o = result.evidence.metrics, result.objectives
    p99 = f.write_latency.p99_ms
    held_s = number(round((result.restored_wall or result.injected_wall) - result.injected_wall))
    found = [
        Tile(name=messages["availability_tile"], measured=f"{100 * f.availability:.2f} %",
             note=messages["for_a_year"].format(value=f"≥ {100 * o.availability:g} %"))
    ]  # fmt: skip
    if p99 is not None:
        note = messages["for_a_year"].format(value=messages["at_most"].format(value=f"{number(o.latency_p99_ms)} ms"))
        found.insert(0, Tile(name=messages["latency_tile"], measured=f"{number(round(p99, 1))} ms", note=note))
    # None if no site was lost, if it has no pods, or if they did not answer during the drill. In the last case the
    # estate is not healthy either.
    if result.pods_serving_s is not None:
        found.append(_time("pods_serving", result.pods_serving_s, messages["pods_note"], messages))
    if back := result.after_heal:
        note = messages["after_heal_note"].format(due=number(back.due))
        found.append(Tile(name=messages["after_heal_tile"], measured=number(back.failed), note=note))
    if result.recovery_s is not None:
        found.append(_time("recovery", result.recovery_s, messages["recovery_note"].format(held=held_s), messages))
    return tuple(found)


def _outage(name: str, measured: float, promised: float, messages: Messages) -> Tile:
    limit = messages["second"].format(value=number(promised))
    return Tile(
        name=messages[name], measured=messages["second"].format(value=number(round(measured, 2))),
        note=_promised(limit, messages), share=min(100.0, 100 * measured / promised), kept=measured <= promised,
    )  # fmt: skip


def _promised(value: str, messages: Messages) -> str:
    return f"{messages['promised']} {messages['at_most'].format(value=value)}"


def _time(name: str, seconds: float, note: str, messages: Messages) -> Tile:
    return Tile(name=messages[name], measured=messages["second"].format(value=number(round(seconds, 1))), note=note)
