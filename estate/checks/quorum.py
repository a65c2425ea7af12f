"""Rules about etcd votes and database acknowledgements: a decision must survive the loss of a site."""

from __future__ import annotations

from collections import Counter

from estate.checks.key_paths import key_of
from estate.model import Estate, Host, HostRole
from estate.problems import Problem, Problems

FEWEST_VOTES = 3


def odd_votes(estate: Estate) -> Problems:
    """Require an odd number of votes. One more, even vote tolerates no further loss, and votes can tie."""
    votes = len(estate.etcd_members)
    if votes < FEWEST_VOTES or votes % 2 == 0:
        last = estate.etcd_members[-1].name if votes else estate.hosts[0].name
        message = (
            f"{votes} etcd votes in total; an odd number of at least {FEWEST_VOTES} is needed: add or remove a vote"
        )
        yield Problem(key=key_of(estate, "hosts", last, "etcd_votes"), value=str(votes), message=message)


def no_site_with_a_majority(estate: Estate) -> Problems:
    """Require that a majority of the votes remains after the loss of any site."""
    total = len(estate.etcd_members)
    for site, votes in Counter(host.at for host in estate.etcd_members).items():
        if votes * 2 >= total > 1:
            last = [host for host in estate.etcd_members if host.at == site][-1].name
            message = f"{site} has {votes} of {total} votes: its loss would stop all others; move a vote elsewhere"
            yield Problem(key=key_of(estate, "hosts", last, "etcd_votes"), value=str(votes), message=message)


def votes_at_own_sites(estate: Estate) -> Problems:
    """Require votes and database members on suitable hosts at our own sites."""
    sites = {site.name for site in estate.sites}
    for host in estate.hosts:
        if host.etcd_votes and (host.at not in sites or host.kind not in (HostRole.DATA, HostRole.OPS)):
            message = "a vote must be on a data or ops host of our own; move it"
            yield Problem(key=key_of(estate, "hosts", host.name, "etcd_votes"), value=host.name, message=message)
        if host.database and (host.at not in sites or host.kind is not HostRole.DATA):
            message = "a database member must be on a data host of our own; move it"
            yield Problem(key=key_of(estate, "hosts", host.name, "database"), value=host.name, message=message)


def acknowledging_sets(estate: Estate) -> list[tuple[Host, Host]]:
    """Return every pair (primary, standby) that can acknowledge a commit. The sync list is `ANY 1 (all others)`."""
    promotable = [host for host in estate.database_members if host.at in estate.database.promotable]
    return [
        (primary, other) for primary in promotable for other in estate.database_members if other.name != primary.name
    ]


def acknowledging_sets_span_sites(estate: Estate) -> Problems:
    """Require two sites in every set that can acknowledge a commit, so that no site's loss loses acknowledged rows."""
    reported: set[frozenset[str]] = set()
    for primary, standby in acknowledging_sets(estate):
        pair = frozenset((primary.name, standby.name))
        if primary.at == standby.at and pair not in reported:
            reported.add(pair)
            message = (
                f"could acknowledge a commit together with {primary.name} in the same site {primary.at}; "
                "keep one database member per site"
            )
            yield Problem(key=key_of(estate, "hosts", standby.name, "database"), value=standby.name, message=message)


def second_copy_survives_a_site(estate: Estate) -> Problems:
    """Require members in three sites. After the loss of one other site, a standby can still acknowledge writes."""
    sites_with_member = {host.at for host in estate.database_members}
    if len(sites_with_member) < 3:
        found = ", ".join(sorted(sites_with_member)) or "none"
        message = "members in three sites are needed, otherwise the loss of one stops all writes; add `database: true`"
        yield Problem(key="database.acknowledging", value=found, message=message)


def database_sites(estate: Estate) -> Problems:
    """`promotable` and `acknowledging` are distinct, known, and exactly the sites that have a member."""
    known = [site.name for site in estate.sites]
    members = {host.at for host in estate.database_members}
    seen: set[str] = set()
    for field in ("promotable", "acknowledging"):
        for index, site in enumerate(getattr(estate.database, field)):
            key = f"database.{field}[{index}]"
            if site not in known:
                yield Problem(key=key, value=site, message=f"no such site; known: {', '.join(known)}")
            elif site not in members:
                message = f"has no database member; set `database: true` on a data host at {site} or remove it here"
                yield Problem(key=key, value=site, message=message)
            if site in seen:
                yield Problem(
                    key=key, value=site, message="is listed twice in database; a site has one role there, keep one"
                )
            seen.add(site)
    for site in sorted(members - seen):
        host = next(h.name for h in estate.database_members if h.at == site)
        message = f"{site} is neither in database.promotable nor in database.acknowledging; add it to one"
        yield Problem(key=key_of(estate, "hosts", host, "database"), value=host, message=message)


def promotable_in_one_city(estate: Estate) -> Problems:
    """Require one city for automatic promotion. An operator must confirm the takeover by a remote site."""
    cities = {site.city for site in estate.sites if site.name in estate.database.promotable}
    if len(cities) > 1:
        message = "are in different cities; move the remote ones to database.acknowledging"
        yield Problem(key="database.promotable", value=", ".join(estate.database.promotable), message=message)


def timers(estate: Estate) -> Problems:
    """Require that the primary detects the loss of its lease before another member may take it."""
    database = estate.database
    needed = database.loop_wait_s + 2 * database.retry_timeout_s
    if needed > database.ttl_s:
        message = f"loop_wait_s + 2 * retry_timeout_s is {needed} and must not exceed ttl_s; lower them or raise ttl_s"
        yield Problem(key="database.ttl_s", value=str(database.ttl_s), message=message)
