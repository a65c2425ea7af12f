"""In which language a picture speaks: in one, or in both beside each other."""

from __future__ import annotations

from dataclasses import dataclass

from estate.model import Title
from estate.tables import Language


@dataclass(frozen=True)
class Translator:
    """None speaks both, the Chinese words first."""

    lang: Language | None = None

    def line(self, zh: str, en: str, between: str = " ") -> str:
        """Words in one line."""
        return zh + between + en if self.lang is None else self.pair(zh, en)[0]

    def pair(self, zh: str, en: str) -> tuple[str, str]:
        """Words to be written large, and those below them in small; the second is empty in one language."""
        return {None: (zh, en), "zh": (zh, ""), "en": (en, "")}[self.lang]

    def title(self, title: Title) -> str:
        """What people call something, in one line."""
        return self.line(title.zh, title.en)
