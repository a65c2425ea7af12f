"""Blast radius: what a drill takes away and what citizens should notice, told before anything is pressed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estate.model import Estate, Title
from failover.report.words import say


@dataclass(frozen=True, kw_only=True)
class Blast:
    """What the loss of a site takes along. `votes` are those that go and all that there are."""

    site: str
    title: Title
    hosts: tuple[str, ...]
    links: tuple[str, ...]
    votes: tuple[int, int]
    database_members: tuple[str, ...]
    services_active: tuple[str, ...]
    lab: bool
    rto_s: float
    read_outage_s: float
    rpo_records: int

    @property
    def majority_stays(self) -> bool:
        """Whether the votes that stay are a majority of all."""
        gone, total = self.votes
        return (total - gone) * 2 > total


def of_site(estate: Estate, site: str) -> Blast:
    """For the loss of a whole site. KeyError for an unknown one."""
    hosts = estate.hosts_at(estate.site(site).name)
    names = {host.name for host in hosts}
    promised = [service.objectives for service in estate.services]
    return Blast(
        site=site,
        title=estate.site(site).title,
        hosts=tuple(host.name for host in hosts),
        links=tuple(link.name for link in estate.links if names & set(link.ends)),
        votes=(sum(host.etcd_votes for host in hosts), sum(host.etcd_votes for host in estate.hosts)),
        database_members=tuple(host.name for host in hosts if host.database),
        services_active=tuple(s.name for s in estate.services if site in s.placement.active),
        lab=estate.lab,
        rto_s=max(o.rto_s for o in promised),
        read_outage_s=max(o.read_outage_s for o in promised),
        rpo_records=max(o.rpo_records for o in promised),
    )


def as_json(blast: Blast) -> dict[str, Any]:
    """The same for programs; units are in the keys."""
    gone, total = blast.votes
    return {
        "site": blast.site, "title": blast.title.model_dump(), "hosts": blast.hosts, "links": blast.links,
        "votes": {"lost": gone, "total": total, "majority_stays": blast.majority_stays},
        "database_members": blast.database_members, "services_active": blast.services_active, "lab": blast.lab,
        "objectives": {
            "rto_s": blast.rto_s, "read_outage_s": blast.read_outage_s, "rpo_records": blast.rpo_records,
        },
    }  # fmt: skip


def text(blast: Blast, lang: str) -> str:
    """For the operator who is about to confirm; `lang` is zh or en."""
    gone, total = blast.votes

    def names(values: tuple[str, ...]) -> str:
        return ("、" if lang == "zh" else ", ").join(values) or say("blast", "none", lang)

    lines = [
        say("blast", "hosts", lang, count=len(blast.hosts), names=names(blast.hosts)),
        say("blast", "links", lang, count=len(blast.links), names=names(blast.links)),
        say("blast", "votes" if blast.majority_stays else "votes_lost", lang, gone=gone, total=total),
        say("blast", "database", lang, names=names(blast.database_members)),
        say("blast", "services", lang, names=names(blast.services_active)),
        say("blast", "citizens", lang, rto=f"{blast.rto_s:g}", read=f"{blast.read_outage_s:g}", rpo=blast.rpo_records),
        say("blast", "undo", lang),
        say("blast", "lab" if blast.lab else "real", lang),
    ]
    head = say("blast", "head", lang, site=getattr(blast.title, lang))
    return "\n  ".join([head, *lines])
