"""Small things every rendered text shares."""

from __future__ import annotations

from collections.abc import Iterable


def header_comment(what: str, host: str, *, comment: str = "#") -> str:
    """The first lines of every rendered file: what it is, what made it, and that editing it is in vain."""
    return (
        f"{comment} {what} of {host}.\n"
        f"{comment} Rendered by govcloud from the estate. Do not edit: "
        "`govcloud drift` reports it, `govcloud up` restores it.\n"
    )


def join_lines(*parts: str | Iterable[str]) -> str:
    """Lines and groups of lines as one text with a final newline."""
    flat: list[str] = []
    for part in parts:
        flat.extend([part] if isinstance(part, str) else part)
    return "\n".join(flat) + "\n"
