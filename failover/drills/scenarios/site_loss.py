"""The drill `site-loss`: a whole site loses power while synthetic citizens keep applying."""

from __future__ import annotations

from estate.model import Estate, Title
from failover.drills import steps
from failover.drills.drill import Drill
from failover.drills.fault import chosen
from failover.drills.faults import SitePower
from failover.words import Text


def _fault(estate: Estate, target: str | None) -> SitePower:
    return SitePower(target=chosen(target, [site.name for site in estate.sites], "site"))


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
    steps=steps.usual,
)
