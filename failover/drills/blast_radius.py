"""The blast radius of a drill: the hosts, links and votes it takes away, and the outages that citizens may notice.

The operator sees it before the drill begins. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from estate.model import Estate, Title
from failover.report.messages import message


@dataclass(frozen=True, kw_only=True)
class BlastRadius:
    """What is lost with a site. `votes` are the lost etcd votes and all etcd votes."""

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
        """Whether the remaining votes are a majority of all votes."""
        gone, total = self.votes
        return (total - gone) * 2 > total


def of_site(estate: Estate, site: str) -> BlastRadius:
    """Return the blast radius for the loss of a whole site. Raises KeyError for an unknown site."""
    hosts = estate.hosts_at(estate.site(site).name)
    names = {host.name for host in hosts}
    promised = [service.objectives for service in estate.services]
    return BlastRadius(
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


def as_json(radius: BlastRadius) -> dict[str, Any]:
    """Return the blast radius as a JSON object. The keys contain the units."""
    gone, total = radius.votes
    return {
        "site": radius.site, "title": radius.title.model_dump(), "hosts": radius.hosts, "links": radius.links,
        "votes": {"lost": gone, "total": total, "majority_stays": radius.majority_stays},
        "database_members": radius.database_members, "services_active": radius.services_active, "lab": radius.lab,
        "objectives": {
            "rto_s": radius.rto_s, "read_outage_s": radius.read_outage_s, "rpo_records": radius.rpo_records,
        },
    }  # fmt: skip


def text(radius: BlastRadius, lang: str) -> str:
    """Return the text that the operator reads before confirming. `lang` is zh or en."""
    gone, total = radius.votes

    def names(values: tuple[str, ...]) -> str:
        return ("、" if lang == "zh" else ", ").join(values) or message("blast_radius", "none", lang)

    lines = [
        message("blast_radius", "hosts", lang, count=len(radius.hosts), names=names(radius.hosts)),
        message("blast_radius", "links", lang, count=len(radius.links), names=names(radius.links)),
        message("blast_radius", "votes" if radius.majority_stays else "votes_lost", lang, gone=gone, total=total),
        message("blast_radius", "database", lang, names=names(radius.database_members)),
        message("blast_radius", "services", lang, names=names(radius.services_active)),
        message(
            "blast_radius",
            "citizens",
            lang,
            rto=f"{radius.rto_s:g}",
            read=f"{radius.read_outage_s:g}",
            rpo=radius.rpo_records,
        ),
        message("blast_radius", "undo", lang),
        message("blast_radius", "lab" if radius.lab else "real", lang),
    ]
    head = message("blast_radius", "head", lang, site=getattr(radius.title, lang))
    return "\n  ".join([head, *lines])
