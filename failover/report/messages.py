"""Every word that a drill says to people stands in `messages.yaml`, in both languages; here they are looked up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from estate.model import Estate
    from failover.health import Problem
    from failover.result import Event

LANGUAGES = ("zh", "en")
BETWEEN_CHINESE = re.compile(r"(?<=[一-鿿]) (?=[一-鿿])")
"""A space that belongs beside Latin letters only."""

Messages = dict[str, dict[str, str]]
"""By code, then by language."""

Titles = Mapping[str, str]


@cache
def section(name: str) -> Messages:
    """One section of the file."""
    text = resources.files("failover.report").joinpath("messages.yaml").read_text(encoding="utf-8")
    found: Messages = yaml.safe_load(text)[name]
    return found


def message(part: str, code: str, lang: str, **values: object) -> str:
    """The words for a code, filled in. KeyError for an unknown one: a code without words is a mistake in the
    program."""
    return section(part)[code][lang].format(**values)


def page_messages(lang: str) -> dict[str, str]:
    """All fixed words of the page in one language, not filled in."""
    return {code: both[lang] for code, both in section("page").items()}


def step_name(step: str, lang: str) -> str:
    """A step's name for people; its own name where it has no other."""
    return section("steps").get(step, {}).get(lang, step)


def source_name(source: str, lang: str) -> str:
    """Who says that something happened."""
    return section("sources")[source][lang]


def event_text(event: Event, lang: str, titles: Titles = MappingProxyType({})) -> str:
    """An event in words. `titles` are what people call the sites, by name; without them a site has its name."""
    step = step_name(event.subject, lang)
    subject = titles.get(event.subject, event.subject)
    return BETWEEN_CHINESE.sub("", message("events", event.code, lang, subject=subject, detail=event.detail, step=step))


def problem_text(problem: Problem, lang: str, titles: Titles) -> str:
    """What is not well, in words."""
    text = message("problems", problem.code, lang, subject=titles.get(problem.subject, problem.subject))
    return text + (f" ({problem.detail})" if problem.detail else "")


def site_titles(estate: Estate, lang: str) -> Titles:
    """What people call the sites, by name."""
    return {site.name: getattr(site.title, lang) for site in estate.sites}
