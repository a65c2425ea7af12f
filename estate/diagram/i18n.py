"""Languages of a picture: one language, or both next to each other."""

from __future__ import annotations

from dataclasses import dataclass

from estate.model import Title
from estate.tables import Language


@dataclass(frozen=True)
class Translator:
    """Texts of a picture. The language None means both, with Chinese first."""

    lang: Language | None = None

    def line(self, zh: str, en: str, between: str = " ") -> str:
        """Return the text in one line."""
        return zh + between + en if self.lang is None else self.pair(zh, en)[0]

    def pair(self, zh: str, en: str) -> tuple[str, str]:
        """Return the large text and the small text below it. The second is empty for one language."""
        return {None: (zh, en), "zh": (zh, ""), "en": (en, "")}[self.lang]

    def title(self, title: Title) -> str:
        """Return a title in one line."""
        return self.line(title.zh, title.en)
