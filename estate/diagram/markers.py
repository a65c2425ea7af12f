"""The legend's panel of marks: frames, backgrounds and pills, with their meanings."""

from __future__ import annotations

from typing import TypedDict

from estate.addressing import AddressPlan
from estate.diagram.badges import Badge, label_of
from estate.diagram.boxes import (
    ANNOUNCED,
    ANNOUNCED_LAST,
    ANYCAST,
    CITY,
    CITY_WORDS,
    CLUSTER,
    GOLD,
    LAST_DASH,
    PEER_DASH,
    REMOTE,
    REMOTE_WORDS,
    TEAL,
)
from estate.diagram.layout import PALETTE, Layout
from estate.diagram.svg import Border, box, pill, text
from estate.model import Estate

FIRST, ROW, SAMPLE = 52.0, 22.4, 118.0


class FrameStyle(TypedDict, total=False):
    """Style of a frame or a background."""

    fill: str
    border: Border


def marker_panel(estate: Estate, computed: AddressPlan, layout: Layout, frame: tuple[float, float, float]) -> str:
    """Draw one row for each mark that this picture may have."""
    x, y, w = frame
    say, parts = layout.translator.line, []
    frames: tuple[tuple[FrameStyle, str, tuple[str, str]], ...] = (
        (
            {"fill": ANYCAST, "border": Border(colour=GOLD)},
            say(*ANNOUNCED),
            ("此中心宣告该服务的地址", "this site announces the service"),
        ),
        (
            {"border": Border(colour=GOLD, dash=LAST_DASH)},
            layout.translator.pair(*ANNOUNCED_LAST)[0],
            ("无其他中心宣告时才用到", "used if no other site announces"),
        ),
        ({"fill": CLUSTER, "border": Border(colour=TEAL)}, "Kubernetes", ("本中心的集群", "the site's cluster")),
        (
            {"border": Border(colour=PALETTE[0], dash=PEER_DASH)},
            say("对端", "peer"),
            ("由他方运行的网络", "a network run by someone else"),
        ),
        ({"fill": CITY}, "", CITY_WORDS),
        ({"fill": REMOTE}, "", REMOTE_WORDS),
    )
    for index, (frame_style, label, meaning) in enumerate(frames):
        top = y + FIRST + index * ROW
        parts.append(box(x, top, SAMPLE, 18, radius=5, **frame_style))
        parts.append(text(x + SAMPLE / 2, top + 13, label, size=11, anchor="middle", max_width=SAMPLE - 10))
        parts.append(text(x + SAMPLE + 14, top + 13, say(*meaning), size=12, max_width=w - SAMPLE - 14))
    for index, badge in enumerate(Badge, start=len(frames)):
        top, style = y + FIRST + index * ROW, badge.value
        parts.append(pill(x, top, label_of(badge, layout.translator), fill=style.fill, ink=style.ink, max_width=SAMPLE))
        parts.append(text(x + SAMPLE + 14, top + 14, say(*style.meaning), size=12, max_width=w - SAMPLE - 14))
    return "".join(parts)
