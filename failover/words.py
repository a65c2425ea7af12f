"""Texts of drills in both languages that belong to a fault or a drill. `report/messages.yaml` has all other texts."""

from __future__ import annotations

import re
from dataclasses import dataclass

BETWEEN_CHINESE = re.compile(r"(?<=[一-鿿]) (?=[一-鿿])")
"""A space between two Chinese characters. Spaces belong only next to Latin letters."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """One text in both languages. Values replace `{names}`."""

    zh: str
    en: str

    def of(self, lang: str, **values: object) -> str:
        """Return the text in one language, zh or en, with its values filled in."""
        text: str = getattr(self, lang)
        return BETWEEN_CHINESE.sub("", text.format(**values))


@dataclass(frozen=True, kw_only=True)
class FaultWords:
    """How people read about a fault. `{target}` is the title of the fault's object.

    - `injected` and `healed` are the two events.
    - `happened` begins the verdict's sentence; `lasts` labels the time of the fault on the timeline.
    - `injection` and `healing` name the two moments ("the power off"); `state` follows a number of seconds.
    - `inject` and `heal` are titles of the two steps.
    - `undo` tells the operator how the fault ends.
    - `slow_writes`, `after_heal` and `meanwhile` end improvements: a write outage that is too long, writes that failed
      after the fault was healed, and a recovery that took long.
    """

    injected: Text
    healed: Text
    happened: Text
    lasts: Text
    injection: Text
    healing: Text
    state: Text
    inject: Text
    heal: Text
    undo: Text
    slow_writes: Text
    after_heal: Text
    meanwhile: Text

    def moments(self, lang: str) -> dict[str, str]:
        """Return the values for texts that name the two moments and the state."""
        return {"injection": self.injection.of(lang), "healing": self.healing.of(lang), "state": self.state.of(lang)}
