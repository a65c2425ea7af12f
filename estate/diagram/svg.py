"""SVG shapes and the widths of texts. Sizes are in pixels."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape, quoteattr

INK, SOFT, FAINT, PAPER, CARD = "#1d2733", "#5b6876", "#c9d1d9", "#f6f4ef", "#ffffff"
SANS = "'Noto Sans CJK SC','Noto Sans SC','Source Han Sans SC','PingFang SC','Microsoft YaHei',sans-serif"
MONO = "'JetBrains Mono','DejaVu Sans Mono','Menlo','Consolas',monospace"


class Font(Enum):
    """How a text is set. A value is the SVG attributes."""

    PLAIN = ""
    BOLD = ' font-weight="700"'
    MONO = f' font-family="{MONO}"'


@dataclass(frozen=True, kw_only=True)
class Border:
    """The line around a box. `dash` is SVG's `stroke-dasharray`."""

    colour: str
    dash: str = ""


def width(text: str, size: float, mono: bool = False) -> float:
    """Return the approximate width. A Chinese character is as wide as high, a Latin one a little over half of that."""
    latin = 0.605 if mono else 0.55
    return sum(size * (1.0 if unicodedata.east_asian_width(c) in "WF" else latin) for c in text)


def fitted_size(text: str, size: float, max_width: float, mono: bool = False) -> float:
    """Return the largest size up to `size` at which `text` fits in `max_width`, at least 7."""
    needed = width(text, size, mono)
    return size if needed <= max_width else max(7.0, size * max_width / needed)


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float = 14,
    fill: str = INK,
    anchor: str = "start",
    font: Font = Font.PLAIN,
    max_width: float | None = None,
) -> str:
    """Return a line of text with its baseline at `y`, smaller if it would exceed `max_width`."""
    fitted = fitted_size(content, size, max_width, font is Font.MONO) if max_width else size
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{fitted:.1f}" fill="{fill}" text-anchor="{anchor}"{font.value}>'
        f"{escape(content)}</text>"
    )


def box(
    x: float,
    y: float,
    w: float,
    h: float,
    *,
    fill: str = CARD,
    border: Border | None = None,
    radius: float = 10,
    shadow: bool = False,
) -> str:
    """Return a rounded rectangle."""
    dashed = f' stroke-dasharray="{border.dash}"' if border and border.dash else ""
    shade = ' filter="url(#shade)"' if shadow else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:.1f}" fill="{fill}" '
        f'stroke="{border.colour if border else "none"}" stroke-width="1.5"{dashed}{shade}/>'
    )


def line(points: str, *, stroke: str, wide: float = 2.5, dash: str = "") -> str:
    """Return an open path. `points` is SVG path data."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{points}" fill="none" stroke="{stroke}" stroke-width="{wide:g}" stroke-linecap="round"{dashed}/>'


def dot(x: float, y: float, radius: float, fill: str) -> str:
    """Return a small filled circle for a port."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}" stroke="{CARD}" stroke-width="1.5"/>'


def pill(
    x: float, y: float, content: str, *, fill: str, ink: str, size: float = 11, max_width: float | None = None
) -> str:
    """Return a pill with its top left corner at (x, y), 20 high and as wide as its text, at most `max_width`."""
    w = min(width(content, size) + 14, max_width or 1e9)
    return box(x, y, w, 20, fill=fill, radius=10) + text(
        x + w / 2, y + 14, content, size=size, fill=ink, anchor="middle", max_width=w - 10
    )


def group(name: str, *parts: str) -> str:
    """Return a named group with the name as its tooltip."""
    return f"<g id={quoteattr(name)}><title>{escape(name)}</title>{''.join(parts)}</g>"
