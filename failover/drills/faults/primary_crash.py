"""PostgreSQL of the primary is killed. Its host, Patroni and the site continue to run.

The fault heals by itself: Patroni promotes a standby at once and starts the killed member again.
"""

from __future__ import annotations

from dataclasses import dataclass

from estate.model import Estate, Title
from facts.host_paths import POSTGRESQL_PROGRAMS, POSTGRESQL_VERSION
from failover.drills import blast_radius
from failover.drills.blast_radius import BlastRadius
from failover.drills.fault import Fault
from failover.protocols import DrillInterfaces, Observer
from failover.step import POLL_S, CheckFailed
from failover.words import FaultWords, Text
from monitors.collectors import Observation
from playbooks.render.postgresql import SOCKETS, data_root
from workstation.errors import GovcloudError, Refused

PRIMARY = "primary"
"""The target until an observation has shown the primary's host."""
LOCATED_WITHIN_S = 30.0
"""On a busy machine, a single observation may miss the primary."""
KILL = """read -r pid <"$1/postmaster.pid" || exit
if [ -e "$1/standby.signal" ] || [ -e "$1/recovery.signal" ]; then echo "it is not the primary any more" >&2; exit 1; fi
if ! [ "/proc/$pid/cwd" -ef "$1" ]; then echo "process $pid is not the postmaster" >&2; exit 1; fi
kill -KILL "$pid" || exit
while [ -e "/proc/$pid/exe" ]; do sleep 0.05; done"""
"""Kills only a primary. PostgreSQL keeps a signal file as long as it is a standby. The PID is read first: a primary
that is demoted after the check gets another PID. Every exit before the kill is below `TIMED_OUT`.

The wait does not include the zombie: a process that has ended has no executable file in /proc any more."""
TIMED_OUT = 124
"""Exit code of `timeout`: the kill may have been sent."""
IS_READY = (f"{POSTGRESQL_PROGRAMS}/pg_isready", "-q", "-h", SOCKETS, "-t", "2")

WORDS = FaultWords(
    injected=Text(zh="{target} 的 PostgreSQL 被强制终止", en="PostgreSQL of {target} is killed"),
    healed=Text(zh="{target} 的 PostgreSQL 重新运行", en="PostgreSQL of {target} runs again"),
    happened=Text(zh="主库 {target} 的 PostgreSQL 被强制终止", en="PostgreSQL of the primary {target} was killed"),
    lasts=Text(zh="{target} 的 PostgreSQL 停止", en="PostgreSQL of {target} down"),
    injection=Text(zh="数据库进程终止", en="the kill"),
    healing=Text(zh="成员归队", en="the member's return"),
    state=Text(zh="成员停止", en="without the member"),
    inject=Text(zh="强制终止主库进程", en="kill the primary's PostgreSQL"),
    heal=Text(zh="等待该成员自行归队", en="wait until the member runs again"),
    undo=Text(
        zh="Patroni 自行重新启动该成员，无须撤销", en="Patroni starts the member again; there is nothing to undo"
    ),
    slow_writes=Text(
        zh="对照时间线，看新主库产生之前与之后各用去多少时间。",
        en="Check on the timeline how much of it passed before and after the new primary appeared.",
    ),
    after_heal=Text(
        zh="成员归队不应影响服务，请查其恢复或基础备份带来的负载。",
        en="A returning member should not disturb the service: check the load of its recovery or base backup.",
    ),
    meanwhile=Text(
        zh="在此期间若失去一个中心，副本可能不足。",
        en="If a site had been lost in that time, there might have been too few copies.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class PrimaryCrash(Fault):
    """The crash of PostgreSQL on the host `target`, which is the primary."""

    target: str = PRIMARY
    folder: str = ""
    """PostgreSQL's data directory on that host."""

    words = WORDS
    switch = "isolated synthetic client"

    def located(self, estate: Estate, on: DrillInterfaces) -> PrimaryCrash:
        """Return the crash of the present primary. Raise Refused if no primary is observed within a deadline."""
        end = on.clock.monotonic() + LOCATED_WITHIN_S
        while (primary := on.observer.snapshot().primary) is None:
            if on.clock.monotonic() >= end:
                raise Refused(
                    "the drill did not begin: not exactly one primary was observed", "see `./govcloud status`"
                )
            on.clock.wait(POLL_S)
        return PrimaryCrash(target=primary.host, folder=f"{data_root(estate.host(primary.host))}/{POSTGRESQL_VERSION}")

    def inject(self, on: DrillInterfaces) -> None:
        """Kill the postmaster with SIGKILL and wait until it is gone. Its children end by themselves.

        Raise CheckFailed if the host refuses: the primary may have moved since the last observation.
        """
        host = self.target
        done = on.machines.run(host, ["timeout", "10", "sh", "-c", KILL, "sh", self.folder])
        reason = done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}"
        if done.returncode >= TIMED_OUT:
            raise GovcloudError(f"{host}: the kill of PostgreSQL did not end: {reason}")
        if done.returncode != 0:
            raise CheckFailed(f"{host}: PostgreSQL was not killed: {reason}")

    def heal(self, on: DrillInterfaces) -> None:
        """Do nothing: Patroni starts the member again."""

    def is_injected(self, on: DrillInterfaces) -> bool:
        """Return whether PostgreSQL accepts no connections on its own host, or the host does not answer."""
        try:
            return on.machines.run(self.target, IS_READY, timeout_s=10).returncode != 0
        except GovcloudError:
            return True

    def blast_radius(self, estate: Estate) -> BlastRadius:
        """Return the member, or before an observation every member that may be the primary."""
        members = estate.database_members
        if self.target == PRIMARY:
            promotable = [member for member in members if member.at in estate.database.promotable]
            return blast_radius.of_members(estate, PRIMARY, Title(zh="主库", en="the primary"), promotable)
        title = Title(zh=self.target, en=self.target)
        return blast_radius.of_members(estate, self.target, title, [m for m in members if m.name == self.target])

    def not_now(self, estate: Estate, observer: Observer) -> str:
        """Return why the crash would leave the estate without a primary."""
        return no_successor(estate, observer.snapshot(), self.target)


def no_successor(estate: Estate, seen: Observation, primary: str) -> str:
    """Return why no other member could become primary at once; the empty string if one could. Pure.

    A synchronous standby has every acknowledged record. Patroni must run there, and only a promotable site counts.
    """
    if seen.primary is None or seen.primary.host != primary:
        return f"{primary} is not the primary any more"
    for member in seen.members:
        promotable = member.site in estate.database.promotable and member.site != seen.primary.site
        if promotable and member.sync and member.running and member.patroni:
            return ""
    return "no healthy synchronous standby at another promotable site"
