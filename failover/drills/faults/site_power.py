"""A whole site loses power: its machines stop, and its links drop all packets."""

from __future__ import annotations

from dataclasses import dataclass

from estate.model import Estate
from failover.drills import blast_radius
from failover.drills.blast_radius import BlastRadius
from failover.drills.fault import Fault
from failover.protocols import DrillInterfaces
from failover.words import FaultWords, Text
from workstation.errors import Refused

WORDS = FaultWords(
    injected=Text(zh="{target} 断电，线路静默", en="{target} loses power, its links drop all packets"),
    healed=Text(zh="{target} 恢复供电", en="{target} is powered on"),
    happened=Text(zh="{target}整体断电", en="{target} lost all power"),
    lasts=Text(zh="{target}断电", en="{target} without power"),
    injection=Text(zh="断电", en="the power off"),
    healing=Text(zh="恢复供电", en="the power on"),
    state=Text(zh="断电", en="without power"),
    inject=Text(zh="中心断电", en="power off"),
    heal=Text(zh="恢复供电", en="power on"),
    undo=Text(
        zh="演练结束时自动恢复供电；若被中断，下一次运行会先恢复供电",
        en="the drill powers the site on at its end; if it is interrupted, the next run does so first",
    ),
    slow_writes=Text(
        zh="对照时间线，看新主库产生之前与之后各用去多少时间。",
        en="Check on the timeline how much of it passed before and after the new primary appeared.",
    ),
    after_heal=Text(
        zh="中心归队不应影响其余中心的服务，请查处理器、磁盘同步与数据库连接在这段时间里被谁占用。",
        en="A returning site should not disturb the service at the other sites: find out which programs use their "
        "processors, disk syncs and database connections in that time.",
    ),
    meanwhile=Text(
        zh="在此期间若再失去一个中心，副本可能不足。",
        en="If a second site had been lost in that time, there might have been too few copies.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class SitePower(Fault):
    """The loss of power of the site `target`."""

    words = WORDS
    undo_kind = "power_on"
    switch = "power switch"

    @property
    def site(self) -> str:
        """The site without power."""
        return self.target

    def inject(self, on: DrillInterfaces) -> None:
        """Power the site off."""
        on.power.off(self.target)

    def heal(self, on: DrillInterfaces) -> None:
        """Power the site on."""
        on.power.on(self.target)

    def is_injected(self, on: DrillInterfaces) -> bool:
        """Return whether a host of the site has no power."""
        return not on.power.is_on(self.target)

    def blast_radius(self, estate: Estate) -> BlastRadius:
        """Return everything at the site, and its links."""
        return blast_radius.of_site(estate, self.target)

    def guard(self, estate: Estate) -> None:
        """Refuse the loss of the majority, and of the only site of a service."""
        super().guard(estate)
        radius = self.blast_radius(estate)
        if not radius.majority_stays:
            raise Refused(f"{self.target} has {radius.votes[0]} of {radius.votes[1]} votes: no majority would remain")
        for service in estate.services:
            if not set(service.placement.sites) - {self.target}:
                raise Refused(f"{service.name} runs only at {self.target}: no other site could serve it")
