"""Icons of machines by kind, drawn in a square of 30 pixels with its top left corner at the origin."""

from __future__ import annotations

from estate.model import HostRole

_ROUTER = (
    '<circle cx="15" cy="15" r="13"/><path d="M15 11V4M12 7l3-3 3 3M15 19v7M12 23l3 3 3-3'
    'M11 15H4M7 12l-3 3 3 3M19 15h7M23 12l3 3-3 3"/>'
)
_SERVER = (
    '<rect x="4" y="4" width="22" height="9" rx="2"/><rect x="4" y="17" width="22" height="9" rx="2"/>'
    '<path d="M8 8.5h.01M8 21.5h.01M13 8.5h9M13 21.5h9"/>'
)
_CLUSTER = '<path d="M15 2l11 6.2v12.6L15 27 4 20.8V8.2z"/><path d="M4 8.2l11 6.3 11-6.3M15 14.5V27"/>'
_DATA = (
    '<ellipse cx="15" cy="7" rx="11" ry="4"/>'
    '<path d="M4 7v16c0 2.2 4.9 4 11 4s11-1.8 11-4V7M4 15c0 2.2 4.9 4 11 4s11-1.8 11-4"/>'
)
_OPS = '<rect x="3" y="4" width="24" height="17" rx="2"/><path d="M11 26h8M15 21v5M7 15l4-5 4 4 3-4 5 5"/>'
_EYE = '<path d="M2 15s5-8.5 13-8.5S28 15 28 15s-5 8.5-13 8.5S2 15 2 15z"/><circle cx="15" cy="15" r="4"/>'

_PATHS = {
    HostRole.EDGE: _ROUTER,
    HostRole.PEER_ROUTER: _ROUTER,
    HostRole.KUBE: _CLUSTER,
    HostRole.DATA: _DATA,
    HostRole.OPS: _OPS,
    HostRole.VANTAGE: _EYE,
    HostRole.PEER_SERVER: _SERVER,
}


def icon(kind: HostRole, x: float, y: float, colour: str, size: float = 30) -> str:
    """Return the icon of `kind` with its top left corner at (x, y)."""
    return (
        f'<g transform="translate({x:.1f} {y:.1f}) scale({size / 30:.3f})" fill="none" stroke="{colour}" '
        f'stroke-width="2" stroke-linecap="round" stroke-linejoin="round">{_PATHS[kind]}</g>'
    )
