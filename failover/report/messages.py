"""Looks up the texts of a drill in `messages.yaml`, which has them all in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from estate.model import Estate
from failover.result import Event
from failover.words import BETWEEN_CHINESE

LANGUAGES = ("zh", "en")
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


def page_messages(lang: str, moments: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return all texts of the page in one language. Only the `moments` of the fault are filled in."""
    texts = {code: both[lang] for code, both in section("page").items()}
    for name, value in moments.items():
        texts = {code: text.replace(f"{{{name}}}", value) for code, text in texts.items()}
    return texts


def step_name(step: str, lang: str) -> str:
    """Return a step's title, or its name if it has no title."""
    return section("steps").get(step, {}).get(lang, step)


def source_name(source: str, lang: str) -> str:
    """Return the title of an event's source."""
    return section("sources")[source][lang]


def event_text(event: Event, lang: str, titles: Titles = MappingProxyType({})) -> str:
    """Return the text of an event. `titles` are the sites' titles by name; a site without a title has its name."""
    subject = titles.get(event.subject, event.subject)
    own = event.text.of(lang, target=subject) if event.text else ""
    step = own or step_name(event.subject, lang)
    text = message("events", event.code, lang, subject=subject, detail=event.detail, step=step, text=own)
    return BETWEEN_CHINESE.sub("", text)


def site_titles(estate: Estate, lang: str) -> Titles:
    """Return the sites' titles by name."""
    return {site.name: getattr(site.title, lang) for site in estate.sites}
