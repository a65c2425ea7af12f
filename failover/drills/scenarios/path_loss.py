"""The drill `path-loss`: a link silently drops all packets while synthetic citizens keep applying."""

from __future__ import annotations

from estate.model import Estate, Title
from failover.drills import steps
from failover.drills.drill import Drill
from failover.drills.fault import chosen
from failover.drills.faults import LinkCut
from failover.words import Text


def _fault(estate: Estate, target: str | None) -> LinkCut:
    return LinkCut(target=chosen(target, [link.name for link in estate.links], "link"))


DRILL = Drill(
    name="path-loss",
    title=Title(zh="线路无声中断", en="Silent loss of a link"),
    summary=Text(
        zh="一条线路双向丢弃全部数据包，接口状态不变，市民持续申办与查询；服务须经其他线路自行恢复；"
        "线路恢复后全域须恢复健康；账本与数据库逐行核对。",
        en="A link drops all packets in both directions while a synthetic client keeps applying and reading. The "
        "interfaces at its ends stay up. The service must recover by itself over other links. After the end of the cut "
        "every health check must be green again. The ledger is compared with the database row by row.",
    ),
    expected_s=75,
    target="link",
    fault=_fault,
    steps=steps.usual,
)
