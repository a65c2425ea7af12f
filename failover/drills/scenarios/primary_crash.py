"""The drill `primary-crash`: PostgreSQL of the primary is killed while synthetic citizens keep applying."""

from __future__ import annotations

from estate.model import Estate, Title
from failover.drills import steps
from failover.drills.drill import Drill
from failover.drills.faults import PrimaryCrash
from failover.words import Text
from workstation.errors import WrongUse


def _fault(estate: Estate, target: str | None) -> PrimaryCrash:
    if target is not None:
        raise WrongUse("primary-crash takes no target", "it kills the present primary: leave out --target")
    return PrimaryCrash()


DRILL = Drill(
    name="primary-crash",
    title=Title(zh="主库进程崩溃", en="Crash of the primary"),
    summary=Text(
        zh="主库的 PostgreSQL 被强制终止（kill -9），市民持续申办与查询；另一成员须自行成为主库，"
        "被终止的成员须自行归队，全域须恢复健康；账本与数据库逐行核对。",
        en="PostgreSQL of the primary is killed with kill -9 while a synthetic client keeps applying and reading. "
        "Another member must become primary by itself. The killed member must return by itself, and every health check "
        "must be green again. The ledger is compared with the database row by row.",
    ),
    expected_s=60,
    target="primary",
    fault=_fault,
    steps=steps.usual,
)
