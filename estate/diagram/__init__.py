"""The estate as a picture for a wall: one SVG document in Chinese and English, computed from the declaration."""

from __future__ import annotations

from estate.addressing import plan
from estate.diagram import boxes, legend, links
from estate.diagram.i18n import Translator
from estate.diagram.layout import arrange
from estate.diagram.svg import CARD, PAPER, SANS, box
from estate.model import Estate
from estate.tables import Language

_SHADE = (
    '<defs><filter id="shade" x="-5%" y="-5%" width="110%" height="115%">'
    '<feDropShadow dx="0" dy="3" stdDeviation="6" flood-color="#1d2733" flood-opacity="0.14"/></filter></defs>'
)


def draw(estate: Estate, lang: Language | None = None) -> str:
    """Return the picture in one language or in both.

    The estate must keep the rules: every place has a router, and every name is known.
    """
    layout, computed = arrange(estate, Translator(lang)), plan(estate)
    parts = [
        box(0, 0, layout.width, layout.height, fill=PAPER, radius=0),
        legend.heading(estate, layout),
        boxes.city_boxes(layout),
        links.uplink_curves(estate, layout),
        *(boxes.peer_box(estate, computed, layout, one) for one in layout.peers),
        *(boxes.site_box(estate, computed, layout, one) for one in layout.sites),
        links.trunk_curves(estate, layout),
        legend.legend(estate, computed, layout),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" '
        f'font-family="{SANS}" fill="{CARD}">'
    )
    return "\n".join((head, _SHADE, *parts, "</svg>")) + "\n"
