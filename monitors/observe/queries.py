"""The queries of all collectors to a host, and the observation that its replies become. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from estate.addressing import AddressPlan
from estate.model import Estate, HostRole
from facts.host_paths import CA_FILE
from monitors.collectors import COLLECTORS, Observation
from monitors.query import Queries, Query, Replies, Reply, Target


def queries_of(target: Target) -> Queries:
    """Return all queries of the host by name. Vantages also need the text of the CA certificate, see `with_ca`."""
    holds_ca = target.host.kind is HostRole.KUBE
    queries: Queries = {"ca": {"kind": "text", "path": CA_FILE}} if holds_ca else {}
    for collector in COLLECTORS:
        queries |= collector.queries(target)
    return queries


def with_ca(queries: Queries, ca: str) -> Queries:
    """Return the queries with the CA certificate (PEM) in them, because a vantage has no file with it."""
    return {name: query | {"ca_text": ca} if _lacks_ca(query) else query for name, query in queries.items()}


def needs_ca(queries: Queries) -> bool:
    """Return whether any query needs the text of the CA certificate before it can be sent."""
    return any(_lacks_ca(query) for query in queries.values())


def _lacks_ca(query: Query) -> bool:
    return query["kind"] == "https" and "ca_file" not in query


def observation_of(
    estate: Estate, plan: AddressPlan, replies: Mapping[str, Reply], *, at: float, took_s: float
) -> Observation:
    """Return one observation of the hosts in `replies`; hosts that were not asked are not in it."""
    pairs = tuple((host, replies[host.name]) for host in estate.hosts if host.name in replies)
    asked = Replies(estate=estate, plan=plan, pairs=pairs)
    parts = {name: value for one in COLLECTORS for name, value in vars(one.parse(asked)).items()}
    return Observation(at=at, took_s=took_s, **parts)
