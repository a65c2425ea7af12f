"""Problems of the running estate: the kinds, how much each one matters, and which questions it concerns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Literal

Language = Literal["zh", "en"]

SEPARATOR = " · "
"""Between the parts of a problem's subject, such as a service and its site."""


class Severity(IntEnum):
    """How much a problem matters to the users of the services."""

    CRITICAL = 1
    """Users notice, or acknowledged data is in danger."""
    WARNING = 2
    """Users do not notice yet; the next loss would hurt."""


class Scope(StrEnum):
    """The question that a judgement answers."""

    STATUS = "status"
    """Is all well? `status` ends with exit code 1 otherwise."""
    DRILL = "drill"
    """May a drill start, and has the estate recovered after it? A drill waits 10 minutes for the recovery."""
    UPGRADE = "upgrade"
    """May the next site be upgraded? Everything that `status` reports, and rollouts that have not finished."""


EVERYWHERE = frozenset(Scope)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of problem: its code, its severity, its scopes, and its message in both languages."""

    code: str
    severity: Severity
    zh: str
    en: str
    scopes: frozenset[Scope] = EVERYWHERE

    def at(self, subject: str, detail: str = "") -> Problem:
        """Return a problem of this kind, see `Problem`."""
        return Problem(kind=self, subject=subject, detail=detail)


def critical(code: str, zh: str, en: str) -> Kind:
    """Return a critical kind that concerns every scope."""
    return Kind(code=code, severity=Severity.CRITICAL, zh=zh, en=en)


def warning(code: str, zh: str, en: str, scopes: frozenset[Scope] = EVERYWHERE) -> Kind:
    """Return a kind that is a warning."""
    return Kind(code=code, severity=Severity.WARNING, zh=zh, en=en, scopes=scopes)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong. `subject` is a host, a site, a service, a link or a vantage, or several of them joined
    with `SEPARATOR`."""

    kind: Kind
    subject: str
    detail: str = ""

    @property
    def code(self) -> str:
        """The name of its kind."""
        return self.kind.code

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return self.kind.severity

    def text(self, lang: Language = "en", titles: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return one line for a person. `titles` are what people call the sites, by name."""
        subject = SEPARATOR.join(titles.get(part, part) for part in self.subject.split(SEPARATOR))
        message = self.kind.zh if lang == "zh" else self.kind.en
        return f"{subject}: {message}" + (f" ({self.detail})" if self.detail else "")

    def __str__(self) -> str:
        return self.text()
