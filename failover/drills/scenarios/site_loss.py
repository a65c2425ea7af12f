"""The drill `site-loss`: a whole site loses power while synthetic citizens keep applying."""

from __future__ import annotations

from estate.model import Estate, Title
from failover.drills import steps
from failover.drills.context import DrillContext
from failover.drills.drill import Drill
from failover.drills.fault import chosen
from failover.drills.faults import SitePower
from failover.step import Step
from failover.words import Text


def _fault(estate: Estate, target: str | None) -> SitePower:
    return SitePower(target=chosen(target, [site.name for site in estate.sites], "site"))


def _steps(run: DrillContext) -> tuple[Step, ...]:
    return (
        steps.steady_state(run),
        steps.start_load(run),
        steps.inject(run),
        steps.service_returns(run),
        steps.hold(run),
        steps.heal(run),
        steps.all_healthy(run),
        steps.served_to_the_end(run),
        steps.stop_load(run),
        steps.compare_ledger(run),
    )


DRILL = Drill(
    name="site-loss",
    title=Title(zh="整个中心断电", en="Loss of a whole site"),
    summary=Text(
        zh="一个中心的全部机器断电、线路静默，市民持续申办与查询；服务须自行恢复；恢复供电后全域须恢复健康；"
        "账本与数据库逐行核对。",
        en="All machines of a site lose power and its links drop all packets while a synthetic client keeps applying "
        "and reading. The service must recover by itself. Then the site is powered on and every health check must be "
        "green again. The ledger is compared with the database row by row.",
    ),
    expected_s=150,
    target="site",
    fault=_fault,
    steps=_steps,
)
