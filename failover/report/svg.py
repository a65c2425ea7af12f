"""Draws the report's pictures as SVG text. Pure. Colours are CSS classes, so that the page defines them once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from failover.ledger.metrics import Gap, Window

WIDTH, LEFT, RIGHT = 1080, 64, 12


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Converts seconds after the injection to horizontal positions."""

    begin_s: float
    end_s: float

    def x(self, at_s: float) -> float:
        """Return the position of a moment, limited to the picture."""
        at = min(max(at_s, self.begin_s), self.end_s)
        return round(LEFT + (at - self.begin_s) / (self.end_s - self.begin_s) * (WIDTH - LEFT - RIGHT), 2)

    def ticks(self) -> list[int]:
        """Return about ten whole seconds for the axis."""
        span = self.end_s - self.begin_s
        step = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if span / s <= 12), 600)
        first = int(self.begin_s // step) * step
        return [t for t in range(first, int(self.end_s) + 1, step) if t >= self.begin_s]


@dataclass(frozen=True, kw_only=True)
class Marker:
    """A numbered event on the timeline."""

    number: int
    at_s: float
    source: str
    title: str


def picture(height: int, body: Iterable[str], label: str) -> str:
    """Return an SVG that scales with the page. `label` is for screen readers."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'
    )


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """Return a rectangle of a CSS class, with a tooltip if `title` is not empty."""
    inner = f"<title>{escape(title)}</title></rect>" if title else "</rect>"
    return f'<rect x="{x:g}" y="{y:g}" width="{max(width, 0.4):.2f}" height="{height:g}" class="{kind}">{inner}'


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{kind}"/>'


def axis(scale: Scale, y: float, top: float) -> list[str]:
    """Return the time axis with its grid."""
    parts = [line(LEFT, y, WIDTH - RIGHT, y, "axis")]
    for tick in scale.ticks():
        x = scale.x(tick)
        parts += [line(x, top, x, y, "zero" if tick == 0 else "grid"), text(x, y + 18, f"{tick}", "tick", "middle")]
    return parts


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One kind of request on the timeline: its name, its columns as (start, due, ok), its longest outage with a
    label."""

    name: str
    columns: tuple[tuple[float, int, int], ...]
    gap: Gap
    gap_label: str


LANE_TOP, LANE_HEIGHT, LANE_STEP = 62, 56, 84


def timeline(scale: Scale, lanes: Sequence[Lane], markers: Sequence[Marker], fault: tuple[float, float, str]) -> str:
    """Draw lanes of 0.1 s columns with the outage shaded, a bar for the time of the fault, and numbered markers above.

    `fault` is the begin, the end and the label of the bar.
    """
    bottom = LANE_TOP + len(lanes) * LANE_STEP
    begin, end, label = scale.x(fault[0]), scale.x(fault[1]), fault[2]
    parts = axis(scale, bottom, LANE_TOP - 12)
    parts += _markers(scale, markers, bottom)
    parts.append(rect(begin, 32, end - begin, 16, "fault", label))
    if end - begin > label_width(label):
        parts.append(text((begin + end) / 2, 44, label, "fault-label", "middle"))
    else:
        parts.append(text(end + 6, 44, label, "tick"))
    for number, lane in enumerate(lanes):
        parts += _lane(scale, lane, LANE_TOP + number * LANE_STEP)
    return picture(bottom + 28, parts, " · ".join(lane.name for lane in lanes))


def label_width(label: str) -> float:
    """Return about the width of a label. A Chinese character is twice as wide as a Latin letter."""
    return 12.0 + sum(12.5 if ord(each) > 0x2E80 else 6.5 for each in label)


def _lane(scale: Scale, lane: Lane, top: float) -> list[str]:
    most = max((due for _, due, _ in lane.columns), default=1)
    base = top + LANE_HEIGHT
    parts = [text(LEFT - 8, top + LANE_HEIGHT / 2 + 5, lane.name, "lane", "end")]
    if lane.gap.length_s > 0:
        x1, x2 = scale.x(lane.gap.start_s), scale.x(lane.gap.end_s)
        parts.append(rect(x1, top - 4, x2 - x1, LANE_HEIGHT + 8, "outage", lane.gap_label))
    for (due, ok), start, end in merged(lane.columns):
        x1, x2 = scale.x(start), scale.x(end)
        high, good = LANE_HEIGHT * due / most, LANE_HEIGHT * ok / most
        if ok:
            parts.append(rect(x1, base - good, x2 - x1, good, "ok"))
        if due > ok:
            parts.append(rect(x1, base - high, x2 - x1, high - good, "bad"))
    if lane.gap.length_s > 0:
        anchor = min(WIDTH - 220, scale.x(lane.gap.start_s))
        parts.append(text(anchor + 2, base + 18, lane.gap_label, "outage-label"))
    return parts


def merged(columns: Iterable[tuple[float, int, int]]) -> Iterable[tuple[tuple[int, int], float, float]]:
    """Merge neighbouring columns of equal counts to one: ((due, ok), start, end)."""
    for counts, group in groupby(columns, key=lambda c: (c[1], c[2])):
        members = list(group)
        run = [members[0][0], members[0][0]]
        for start, _, _ in members[1:]:
            if start - run[1] > 0.15:
                yield counts, run[0], run[1] + 0.1
                run = [start, start]
            run[1] = start
        yield counts, run[0], run[1] + 0.1


PIN_WIDTH = 18.0


def _markers(scale: Scale, markers: Sequence[Marker], bottom: float) -> list[str]:
    """Draw pins in a row, moved apart if events are close together. A line connects each pin with its moment."""
    parts: list[str] = []
    true = [scale.x(marker.at_s) for marker in markers]
    for marker, x, pin in zip(markers, true, spread(true, PIN_WIDTH, LEFT, WIDTH - RIGHT), strict=True):
        parts.append(f'<polyline points="{pin:g},18 {x:g},28 {x:g},{bottom:g}" class="mark {marker.source}"/>')
        parts.append(
            f'<g class="pin {marker.source}"><title>{escape(marker.title)}</title><circle cx="{pin:g}" cy="10" r="8"/>'
            f'<text x="{pin:g}" y="14" text-anchor="middle">{marker.number}</text></g>'
        )
    return parts


def spread(places: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Move the sorted places so that neighbours are at least `apart`, and inside low … high if there is enough width.

    One pass in each direction keeps them near their original places.
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + apart) if moved else max(place, low))
    limit = high
    for n in range(len(moved) - 1, -1, -1):
        moved[n] = min(moved[n], limit)
        limit = moved[n] - apart
    # A group that was pushed right is moved back by its mean shift, so that it is centred over its moments.
    for first, last in _groups(moved, apart):
        shift = sum(moved[n] - places[n] for n in range(first, last + 1)) / (last - first + 1)
        floor = moved[first - 1] + apart if first else low
        shift = min(shift, moved[first] - floor)
        if shift > 0:
            moved[first : last + 1] = [place - shift for place in moved[first : last + 1]]
    return [round(place, 2) for place in moved]


def _groups(places: Sequence[float], apart: float) -> Iterable[tuple[int, int]]:
    """Yield the index ranges of neighbours that are exactly `apart`."""
    first = 0
    for n in range(1, len(places) + 1):
        if n == len(places) or places[n] - places[n - 1] > apart + 0.01:
            yield first, n - 1
            first = n


CELL, ROW, ROW_WINDOWS = 10.0, 14, 100


def availability(windows: Sequence[Window], offset_s: float) -> str:
    """Draw rows of 10 s with one cell for every 100 ms window.

    `offset_s` is the time of the injection in the ledger. The row labels are seconds after it.
    """
    parts = []
    rows = 0
    for row, members in groupby(windows, key=lambda w: round(w.start_s * 10) // ROW_WINDOWS):
        rows = row + 1
        parts.append(text(LEFT - 8, row * ROW + 11, f"{row * 10 - offset_s:+.0f} s", "tick", "end"))
        for good, group in groupby(members, key=lambda w: w.succeeded):
            cells = [round(w.start_s * 10) % ROW_WINDOWS for w in group]
            x, count = LEFT + cells[0] * CELL, cells[-1] - cells[0] + 1
            parts.append(rect(x, row * ROW + 1, count * CELL - 0.6, ROW - 3, "ok" if good else "bad"))
    return picture(rows * ROW + 4, parts, "availability")


PLOT_HEIGHT = 170
LATENCY_TICKS = (10, 30, 100, 300, 1000, 3000)


def latency(
    scale: Scale, seconds: Sequence[tuple[float, float, float]], promised_ms: float, labels: dict[str, str]
) -> str:
    """Draw median and maximum of each second on a logarithmic scale. `seconds`: (second, median ms, maximum ms)."""
    from math import log10

    low, high = log10(3), log10(5000)

    def y(ms: float) -> float:
        return round(
            PLOT_HEIGHT - (min(max(log10(max(ms, 0.1)), low), high) - low) / (high - low) * (PLOT_HEIGHT - 14), 2
        )

    parts = axis(scale, PLOT_HEIGHT + 4, 8)
    for tick in LATENCY_TICKS:
        parts += [
            line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"),
            text(LEFT - 8, y(tick) + 4, f"{tick} ms", "tick", "end"),
        ]
    parts.append(line(LEFT, y(promised_ms), WIDTH - RIGHT, y(promised_ms), "promise"))
    parts.append(text(WIDTH - RIGHT, y(promised_ms) - 5, labels["promise"], "promise-label", "end"))
    for place, kind in ((2, "max"), (1, "median")):
        for run in _runs(seconds):
            points = " ".join(f"{scale.x(s[0] + 0.5):g},{y(s[place]):g}" for s in run)
            parts.append(f'<polyline points="{points}" class="{kind}"/>')
    parts.append(text(LEFT + 6, 14, f"— {labels['max']}", "key max-label"))
    parts.append(text(LEFT + 90, 14, f"— {labels['median']}", "key median-label"))
    return picture(PLOT_HEIGHT + 28, parts, "latency")


def _runs(seconds: Sequence[tuple[float, float, float]]) -> Iterable[list[tuple[float, float, float]]]:
    """Yield the runs of seconds without a gap. A line across an outage would show answers that never came."""
    run: list[tuple[float, float, float]] = []
    for second in seconds:
        if run and second[0] - run[-1][0] > 1.5:
            yield run
            run = []
        run.append(second)
    if run:
        yield run
