"""The etcd cluster that serves Patroni and the locks: its votes and its leader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Host
from facts import ports
from facts.host_paths import CA_FILE, CERT_FILE, KEY_FILE
from monitors.collector import Collector, Column, Context
from monitors.problem import Language, Problem, Scope, critical, warning
from monitors.query import Queries, Replies, Reply, Target, https, mapping, whole

# Without a leader or a majority Patroni promotes no member.
VOTES_BELOW_MAJORITY = critical("votes_below_majority", "应答的仲裁票不足多数", "fewer votes answer than a majority")
NO_LEADER = critical("no_leader", "etcd 没有领导者", "etcd has no leader")
VOTE_DOWN = warning("vote_down", "仲裁票无应答", "etcd vote does not answer")
# Not in drills: the witness takes leadership back at most 3 times in 15 minutes (`etcd_prefer.py`). After several
# drills the leader therefore stays at a city site for longer than a drill waits. It costs an election, no data.
LEADER_IN_CITY = warning(
    "leader_in_city", "etcd 领导者在同城中心，该中心失效时将多一次选举", "etcd's leader is at a city site",
    scopes=frozenset({Scope.STATUS, Scope.UPGRADE}),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EtcdMember:
    """A member (one vote) of the cluster."""

    host: str
    site: str
    healthy: bool
    leader: bool = False
    term: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Votes:
    """The votes of all hosts that were asked."""

    votes: tuple[EtcdMember, ...]

    @property
    def leader(self) -> EtcdMember | None:
        """The member that reports itself as leader."""
        return next((vote for vote in self.votes if vote.leader), None)


def _queries(target: Target) -> Queries:
    if not target.host.etcd_votes:
        return {}
    server = (target.address, ports.ETCD_CLIENT, target.host.name)
    files = {"ca_file": CA_FILE, "cert_file": CERT_FILE, "key_file": KEY_FILE}
    return {
        "etcd_health": https(*server, "/health", **files),
        "etcd_status": https(*server, "/v3/maintenance/status", **files) | {"method": "POST", "body": "{}"},
    }


def _parse(replies: Replies) -> Votes:
    return Votes(votes=tuple(_vote(host, reply) for host, reply in replies.pairs if host.etcd_votes))


def _vote(host: Host, reply: Reply) -> EtcdMember:
    health, status = reply.object("etcd_health"), reply.object("etcd_status")
    own, leader = str(mapping(status.get("header")).get("member_id", "")), str(status.get("leader", ""))
    healthy = str(health.get("health")) == "true"
    return EtcdMember(
        host=host.name,
        site=host.at,
        healthy=healthy,
        leader=bool(own) and own == leader,
        term=whole(status.get("raftTerm")),
        reason="" if healthy else str(health.get("reason") or reply.why("etcd_health")),
    )


def _judge(context: Context, seen: Votes) -> Iterator[Problem]:
    if not seen.votes:
        return
    healthy, members = sum(vote.healthy for vote in seen.votes), len(context.estate.etcd_members)
    if healthy * 2 <= members:
        yield VOTES_BELOW_MAJORITY.at("etcd", f"{healthy}/{members}")
    elif seen.leader is None:
        yield NO_LEADER.at("etcd")
    elif seen.leader.site in context.estate.database.promotable:
        yield LEADER_IN_CITY.at(seen.leader.host)
    for vote in seen.votes:
        if not vote.healthy and vote.host in context.reached:
            yield VOTE_DOWN.at(vote.host, vote.reason)


def _cell(seen: Votes, site: str, _: Language) -> str:
    own = [vote for vote in seen.votes if vote.site == site]
    return f"{sum(vote.healthy for vote in own)}/{len(own)}" + (" ★" if any(vote.leader for vote in own) else "")


COLLECTOR = Collector[Votes](
    rank=2,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    columns=(Column(zh="仲裁票", en="votes", cell=_cell),),
)
