"""The database: PostgreSQL's roles, positions and replication, and Patroni that manages them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from estate.model import Estate, Host
from facts import ports
from facts.host_paths import CA_FILE, POSTGRESQL_PROGRAMS, kept_forks
from monitors.collector import DOWN, UP, Block, Collector, Context
from monitors.problem import Language, Problem, critical, warning
from monitors.query import Queries, Replies, Reply, Target, command, https, mapping, objects, whole

LAG_LIMIT_BYTES = 16 * 1024 * 1024
"""One WAL segment: a standby further behind is not keeping up. Drills and the alert DatabaseLagging have the
same limit. A planned move has a stricter limit of its own, see `failover.plans`."""

POSITION = """\
select json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'position', case when pg_is_in_recovery()
    then pg_wal_lsn_diff(coalesce((select flushed_lsn from pg_stat_wal_receiver), pg_last_wal_replay_lsn()), '0/0')
    else pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0') end,
  'replayed', pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'),
  'timeline', case when pg_is_in_recovery()
    then (select received_tli from pg_stat_wal_receiver)
    else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  'receiver', (select json_build_object('status', status, 'sender', sender_host) from pg_stat_wal_receiver),
  'standbys', (select coalesce(json_agg(json_build_object(
      'name', application_name, 'state', state, 'sync', sync_state)), '[]') from pg_stat_replication),
  'synchronous_standby_names', current_setting('synchronous_standby_names'))"""
"""Replication state from PostgreSQL itself, so that it is known when Patroni is down."""

# With any of these problems, a drill would lose more than its fault takes away. After a drill, Patroni repairs them
# within seconds, or within minutes if a member takes a base backup.
TWO_PRIMARIES = critical("two_primaries", "自称主库的成员不止一个", "more than one member says that it is primary")
NO_PRIMARY = critical("no_primary", "没有主库，无法写入", "no primary: nothing can be written")
PRIMARY_MISPLACED = critical(
    "primary_misplaced", "已成为主库，而它须经人工确认才可升为主库", "is primary, and only a person may promote it"
)
NO_SECOND_COPY = critical(
    "no_second_copy", "没有备库确认提交，写入处于等待状态", "no standby in another site acknowledges: writes wait"
)
MEMBER_DOWN = warning("member_down", "数据库成员未运行", "database member does not run")
PATRONI_DOWN = warning("patroni_down", "Patroni 无应答", "Patroni does not answer")
NOT_STREAMING = warning("not_streaming", "流复制已中断", "does not stream from the primary")
OTHER_TIMELINE = warning("other_timeline", "与主库时间线不同", "is on another timeline than the primary")
LAGGING = warning("lagging", "落后于主库", "is behind the primary")
# While one standby is not counted, the loss of the other one stops all writes.
NOT_COUNTED = warning("not_counted", "主库未将其计入同步确认", "is not a synchronous standby of the primary")
# A drill would wait in vain for the promotion.
PAUSED = warning("paused", "自动故障转移已暂停", "automatic failover is paused")


class Role(StrEnum):
    """The role of a database member at the moment of the observation."""

    PRIMARY = "primary"
    STANDBY = "standby"
    UNKNOWN = "unknown"


ROLES = {
    Role.PRIMARY: {"zh": "主库", "en": "primary"},
    Role.STANDBY: {"zh": "备库", "en": "standby"},
    Role.UNKNOWN: {"zh": "未知", "en": "unknown"},
}


@dataclass(frozen=True, kw_only=True)
class DatabaseMember:
    """A database member. Positions are bytes of WAL, None if the member did not report them."""

    host: str
    site: str
    role: Role
    running: bool
    """PostgreSQL itself answers; a standby must also be streaming."""
    patroni: bool
    """Patroni's REST API answers."""
    state: str = ""
    """Patroni's or the receiver's state, such as `streaming`."""
    timeline: int | None = None
    position: int | None = None
    """Flushed: the WAL that the member would keep if its site lost power now."""
    replayed: int | None = None
    lag_bytes: int | None = None
    """Bytes behind the primary's own position. None unless exactly one primary was observed."""
    sync: bool = False
    """The primary counts its acknowledgement."""
    sender: str | None = None
    """Address from which a standby receives."""
    kept_forks: int = 0
    """How often its diverged WAL was kept for a person. Only a person removes it. It is no problem: by design it stays
    for days, so the screen shows it as a note."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Database:
    """All members that were asked."""

    members: tuple[DatabaseMember, ...]
    synchronous_standby_names: str | None
    """The primary's setting. None unless exactly one primary reported it."""
    paused: bool | None
    """Whether Patroni's automatic failover is off. None if no member reported it."""

    @property
    def primary(self) -> DatabaseMember | None:
        """The primary, if exactly one running member reports that role."""
        found = self.primaries
        return found[0] if len(found) == 1 else None

    @property
    def primaries(self) -> tuple[DatabaseMember, ...]:
        """Every running member that reports the primary's role. More than one is an emergency."""
        return tuple(member for member in self.members if member.role is Role.PRIMARY and member.running)

    def member_at(self, site: str) -> DatabaseMember | None:
        """Return the first database member of a site."""
        return next((member for member in self.members if member.site == site), None)


def _queries(target: Target) -> Queries:
    if not target.host.database:
        return {}
    settings = ("PGCONNECT_TIMEOUT=2", "PGOPTIONS=-c statement_timeout=2000")
    psql = ("env", *settings, f"{POSTGRESQL_PROGRAMS}/psql", "-XAtq", "-d", "postgres")
    patroni = (target.address, ports.PATRONI, target.host.name)
    forks = kept_forks(target.host)
    return {
        "patroni": https(*patroni, "/patroni", ca_file=CA_FILE),
        "cluster": https(*patroni, "/cluster", ca_file=CA_FILE),
        "forks": command("find", forks, "-mindepth", "2", "-maxdepth", "2", "-name", "report.json"),
        "postgresql": command("runuser", "-u", "postgres", "--", *psql, "-c", POSITION),
    }


def _parse(replies: Replies) -> Database:
    pairs = [(host, reply) for host, reply in replies.pairs if host.database]
    said = _primary_answer(reply for _, reply in pairs)
    standbys = {str(one.get("name")): str(one.get("sync")) for one in objects(said.get("standbys"))}
    names = said.get("synchronous_standby_names", ...)
    clusters = (reply.document("cluster") for _, reply in pairs)
    return Database(
        members=_compared([_member(host, reply) for host, reply in pairs], standbys),
        synchronous_standby_names=None if names is ... else str(names),
        paused=next((bool(one.get("pause", False)) for one in clusters if isinstance(one, dict)), None),
    )


def _member(host: Host, reply: Reply) -> DatabaseMember:
    said = reply.document("postgresql")
    patroni = reply.document("patroni")
    has_patroni = isinstance(patroni, dict)
    state = str(patroni.get("state", "")) if has_patroni else ""
    forks = len(str(reply.results.get("forks", {}).get("out", "")).split())
    if not isinstance(said, dict) or not isinstance(said.get("in_recovery"), bool):
        return DatabaseMember(
            host=host.name, site=host.at, role=Role.UNKNOWN, running=False, patroni=has_patroni, state=state,
            kept_forks=forks, reason=reply.why("postgresql"),
        )  # fmt: skip
    standby, receiver = said["in_recovery"], mapping(said.get("receiver"))
    return DatabaseMember(
        host=host.name,
        site=host.at,
        role=Role.STANDBY if standby else Role.PRIMARY,
        running=not standby or receiver.get("status") == "streaming",
        patroni=has_patroni,
        state=str(receiver.get("status") or "not streaming") if standby else state or "running",
        timeline=said.get("timeline"),
        position=whole(said.get("position")),
        replayed=whole(said.get("replayed")),
        sender=receiver.get("sender"),
        kept_forks=forks,
        reason="" if has_patroni else f"Patroni: {reply.why('patroni')}",
    )


def _compared(members: list[DatabaseMember], standbys: Mapping[str, str]) -> tuple[DatabaseMember, ...]:
    """Return the members with their distance from the primary, and whether the primary counts them.

    `standbys` is how the primary counts each standby (`sync_state`), by the standby's name.
    """
    primaries = [member for member in members if member.role is Role.PRIMARY and member.running]
    head = primaries[0].position if len(primaries) == 1 else None
    return tuple(
        replace(
            member,
            lag_bytes=None if head is None or member.position is None else max(0, head - member.position),
            sync=member.role is Role.STANDBY and standbys.get(member.host) in ("sync", "quorum"),
        )
        for member in members
    )


def _primary_answer(replies: Iterator[Reply]) -> dict[str, Any]:
    """Return what the primary said, an empty object unless exactly one member says that it is primary."""
    answers = [reply.object("postgresql") for reply in replies]
    found = [said for said in answers if said.get("in_recovery") is False]
    return found[0] if len(found) == 1 else {}


def _judge(context: Context, seen: Database) -> Iterator[Problem]:
    declared, primary = context.estate.database, seen.primary
    if not seen.members:
        return
    if len(seen.primaries) > 1:
        yield TWO_PRIMARIES.at(declared.scope, ", ".join(member.host for member in seen.primaries))
    if not seen.primaries:
        yield NO_PRIMARY.at(declared.scope)
    for one in seen.primaries:
        if one.site not in declared.promotable:
            yield PRIMARY_MISPLACED.at(one.host)
    if primary and not any(member.sync and member.site != primary.site for member in seen.members):
        yield NO_SECOND_COPY.at(primary.host, seen.synchronous_standby_names or "")
    for member in seen.members:
        if member.host in context.reached:
            yield from _problems_of(member, primary)
    if seen.paused:
        yield PAUSED.at(declared.scope)


def _problems_of(member: DatabaseMember, primary: DatabaseMember | None) -> Iterator[Problem]:
    if member.role is Role.UNKNOWN:
        yield MEMBER_DOWN.at(member.host, member.reason)
        return
    if not member.patroni:
        yield PATRONI_DOWN.at(member.host, member.reason)
    if member.role is Role.PRIMARY or primary is None:
        return
    if not member.running:
        yield NOT_STREAMING.at(member.host, member.state)
    elif member.timeline != primary.timeline:
        yield OTHER_TIMELINE.at(member.host, f"{member.timeline} ≠ {primary.timeline}")
    elif member.lag_bytes is None or member.lag_bytes > LAG_LIMIT_BYTES:
        yield LAGGING.at(member.host, f"{member.lag_bytes} bytes")
    elif not member.sync:
        yield NOT_COUNTED.at(member.host)


def _rows(_: Estate, seen: Database, lang: Language) -> list[list[str]]:
    heads = {
        "zh": ["", "成员", "角色", "状态", "时间线", "落后量", "同步确认"],
        "en": ["", "member", "role", "state", "timeline", "lag", "synchronous"],
    }
    rows = [heads[lang], *(_row(member, lang) for member in seen.members)]
    names = seen.synchronous_standby_names
    if names is not None:
        rows.append(["", "synchronous_standby_names", names or "—"])
    return rows + [["", _forks(member, lang)] for member in seen.members if member.kept_forks]


def _row(member: DatabaseMember, lang: Language) -> list[str]:
    primary = member.role is Role.PRIMARY
    lag = "" if primary or member.lag_bytes is None else _size(member.lag_bytes)
    counted = "" if primary else (UP if member.sync else DOWN)
    timeline = "" if member.timeline is None else str(member.timeline)
    return [UP if member.running else DOWN, member.host, ROLES[member.role][lang], member.state, timeline, lag, counted]


def _forks(member: DatabaseMember, lang: Language) -> str:
    """Return the note about kept WAL: a person must read it and then free the disk space. The platform never does."""
    if lang == "zh":
        return f"{member.host} 留有 {member.kept_forks} 份分叉日志：处理见手册 DatabaseTimelinesDiffer"
    return f"{member.host} keeps WAL of {member.kept_forks} fork(s): see the runbook DatabaseTimelinesDiffer"


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


COLLECTOR = Collector[Database](
    rank=1,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    block=Block(zh="数据库", en="Database", rows=_rows),
)
