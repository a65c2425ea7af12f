"""Looks up the texts of a drill in `messages.yaml`, which has them all in both languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from estate.model import Estate
from failover.result import Event

LANGUAGES = ("zh", "en")
BETWEEN_CHINESE = re.compile(r"(?<=[一-鿿]) (?=[一-鿿])")
"""A space between two Chinese characters. Spaces belong only next to Latin letters."""

Messages = dict[str, dict[str, str]]
"""By code, then by language."""

Titles = Mapping[str, str]


@cache
def section(name: str) -> Messages:
    """Return one section of the file."""
    text = resources.files("failover.report").joinpath("messages.yaml").read_text(encoding="utf-8")
    found: Messages = yaml.safe_load(text)[name]
    return found


def message(part: str, code: str, lang: str, **values: object) -> str:
    """Return the text of a code with its values filled in.

    Raises KeyError for an unknown code: a code without a text is a mistake in the program.
    """
    return section(part)[code][lang].format(**values)


def page_messages(lang: str) -> dict[str, str]:
    """Return all texts of the page in one language, without values filled in."""
    return {code: both[lang] for code, both in section("page").items()}


def step_name(step: str, lang: str) -> str:
    """Return a step's title, or its name if it has no title."""
    return section("steps").get(step, {}).get(lang, step)


def source_name(source: str, lang: str) -> str:
    """Return the title of an event's source."""
    return section("sources")[source][lang]


def event_text(event: Event, lang: str, titles: Titles = MappingProxyType({})) -> str:
    """Return the text of an event. `titles` are the sites' titles by name; a site without a title has its name."""
    step = step_name(event.subject, lang)
    subject = titles.get(event.subject, event.subject)
    return BETWEEN_CHINESE.sub("", message("events", event.code, lang, subject=subject, detail=event.detail, step=step))


def site_titles(estate: Estate, lang: str) -> Titles:
    """Return the sites' titles by name."""
    return {site.name: getattr(site.title, lang) for site in estate.sites}
