"""Key paths of an estate's entries, in the loader's form. Rules use them to name the place of a problem."""

from __future__ import annotations

from estate.model import Estate


def key_of(estate: Estate, section: str, name: str, *fields: str) -> str:
    """Return the key path of the named entry: `hosts[3](futian-ops1).number`. The name must be unique."""
    entries = getattr(estate, section)
    index = next(i for i, entry in enumerate(entries) if entry.name == name)
    return key_at(section, index, name, *fields)


def key_at(section: str, index: int, name: str, *fields: str) -> str:
    """Return the key path of an entry whose name may be used twice."""
    return ".".join((f"{section}[{index}]({name})", *fields))
