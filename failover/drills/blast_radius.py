"""The blast radius of a fault: the hosts, links and votes it takes away, and the outages that citizens may notice.

The operator sees it before the drill begins. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from estate.model import Estate, Host, Title
from failover.report.messages import message
from failover.words import FaultWords


@dataclass(frozen=True, kw_only=True)
class BlastRadius:
    """What is lost with the fault's object. `site` is None if no site is lost.

    `votes` are the lost etcd votes and all etcd votes.
    """

    target: str
    title: Title
    site: str | None
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
        """Whether the remaining votes are a majority of all votes."""
        gone, total = self.votes
        return (total - gone) * 2 > total


def of_site(estate: Estate, site: str) -> BlastRadius:
    """Return the blast radius for the loss of a whole site. Raises KeyError for an unknown site."""
    hosts = estate.hosts_at(estate.site(site).name)
    names = {host.name for host in hosts}
    links = [link.name for link in estate.links if names & set(link.ends)]
    members = [host for host in hosts if host.database]
    return _radius(estate, site, estate.site(site).title, site=site, hosts=hosts, links=links, members=members)


def of_link(estate: Estate, link: str) -> BlastRadius:
    """Return the blast radius for the loss of one link. Raises KeyError for an unknown link."""
    return _radius(estate, link, Title(zh=link, en=link), links=[estate.link(link).name])


def of_members(estate: Estate, target: str, title: Title, members: Sequence[Host]) -> BlastRadius:
    """Return the blast radius for the loss of one of these database members. The hosts continue to run."""
    return _radius(estate, target, title, members=members)


def _radius(
    estate: Estate,
    target: str,
    title: Title,
    *,
    site: str | None = None,
    hosts: Sequence[Host] = (),
    links: Sequence[str] = (),
    members: Sequence[Host] = (),
) -> BlastRadius:
    promised = [service.objectives for service in estate.services]
    return BlastRadius(
        target=target,
        title=title,
        site=site,
        hosts=tuple(host.name for host in hosts),
        links=tuple(links),
        votes=(sum(host.etcd_votes for host in hosts), sum(host.etcd_votes for host in estate.hosts)),
        database_members=tuple(host.name for host in members),
        services_active=tuple(s.name for s in estate.services if site in s.placement.active),
        lab=estate.lab,
        rto_s=max(o.rto_s for o in promised),
        read_outage_s=max(o.read_outage_s for o in promised),
        rpo_records=max(o.rpo_records for o in promised),
    )


def as_json(radius: BlastRadius) -> dict[str, Any]:
    """Return the blast radius as a JSON object. The keys contain the units."""
    gone, total = radius.votes
    return {
        "site": radius.site, "target": radius.target, "title": radius.title.model_dump(), "hosts": radius.hosts,
        "links": radius.links,
        "votes": {"lost": gone, "total": total, "majority_stays": radius.majority_stays},
        "database_members": radius.database_members, "services_active": radius.services_active, "lab": radius.lab,
        "objectives": {
            "rto_s": radius.rto_s, "read_outage_s": radius.read_outage_s, "rpo_records": radius.rpo_records,
        },
    }  # fmt: skip


def text(radius: BlastRadius, words: FaultWords, lang: str) -> str:
    """Return the text that the operator reads before confirming. `lang` is zh or en."""

    def line(code: str, names: Sequence[str] = (), **values: object) -> str:
        joined = ("、" if lang == "zh" else ", ").join(names) or message("blast_radius", "none", lang)
        return message("blast_radius", code, lang, count=len(names), names=joined, **values)

    gone, total = radius.votes
    lines = [
        line("hosts", radius.hosts) if radius.site else "",
        line("links", radius.links) if radius.site else "",
        line("votes" if radius.majority_stays else "votes_lost", gone=gone, total=total),
        line("database", radius.database_members) if radius.database_members or radius.site else "",
        line("services", radius.services_active) if radius.site else "",
        line("citizens", rto=f"{radius.rto_s:g}", read=f"{radius.read_outage_s:g}", rpo=radius.rpo_records),
        words.undo.of(lang),
        line("lab" if radius.lab else "real"),
    ]
    head = line("head", what=words.injected.of(lang, target=getattr(radius.title, lang)))
    return "\n  ".join([head, *filter(None, lines)])
