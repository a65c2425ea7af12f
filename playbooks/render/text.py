"""Text helpers of all renderers."""

from __future__ import annotations

from collections.abc import Iterable


def header_comment(what: str, host: str, *, comment: str = "#") -> str:
    """Return the first lines of a rendered file: its purpose, the program that wrote it, and a warning not to edit."""
    return (
        f"{comment} {what} of {host}.\n"
        f"{comment} Rendered by govcloud from the estate. Do not edit: "
        "`govcloud drift` reports it, `govcloud up` restores it.\n"
    )


def join_lines(*parts: str | Iterable[str]) -> str:
    """Join lines and groups of lines to one text with a final newline."""
    flat: list[str] = []
    for part in parts:
        flat.extend([part] if isinstance(part, str) else part)
    return "\n".join(flat) + "\n"
