"""A link drops all packets in both directions. Its ends notice nothing: no loss of carrier, no reset."""

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
    injected=Text(zh="线路 {target} 双向丢弃全部数据包", en="link {target} drops all packets in both directions"),
    healed=Text(zh="线路 {target} 恢复", en="link {target} carries packets again"),
    happened=Text(zh="线路 {target} 无声中断", en="Link {target} dropped all packets"),
    lasts=Text(zh="线路 {target} 中断", en="link {target} cut"),
    injection=Text(zh="线路中断", en="the cut"),
    healing=Text(zh="线路恢复", en="the end of the cut"),
    state=Text(zh="线路中断", en="with the link cut"),
    inject=Text(zh="切断线路", en="cut the link"),
    heal=Text(zh="恢复线路", en="end the cut"),
    undo=Text(
        zh="演练结束时自动恢复线路；若被中断，下一次运行会先恢复线路",
        en="the drill ends the cut at its end; if it is interrupted, the next run does so first",
    ),
    slow_writes=Text(
        zh="对照时间线，看 BFD 与 BGP 何时不再使用该线路；已建立的连接应改走其他线路。",
        en="Check on the timeline when BFD and BGP stopped using the link. Established connections should continue on "
        "another link.",
    ),
    after_heal=Text(
        zh="线路恢复不应影响服务，请查路由与 BFD 会话在这段时间里是否反复中断。",
        en="A returning link should not disturb the service: check whether BGP or BFD sessions failed in that time.",
    ),
    meanwhile=Text(
        zh="在此期间若再失去一条线路，两端可能失去联系。",
        en="If another link had been lost in that time, its two ends might have been separated.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class LinkCut(Fault):
    """The cut of the link `target`."""

    words = WORDS
    undo_kind = "heal_link"
    switch = "switch for links"

    def inject(self, on: DrillInterfaces) -> None:
        """Cut the link."""
        on.links.cut(self.target)

    def heal(self, on: DrillInterfaces) -> None:
        """Let the link carry packets again."""
        on.links.heal(self.target)

    def is_injected(self, on: DrillInterfaces) -> bool:
        """Return whether the link drops packets."""
        return on.links.is_cut(self.target)

    def blast_radius(self, estate: Estate) -> BlastRadius:
        """Return the link alone."""
        return blast_radius.of_link(estate, self.target)

    def guard(self, estate: Estate) -> None:
        """Refuse the cut of the only path between its two ends."""
        super().guard(estate)
        if is_only_path(estate, self.target):
            ends = " and ".join(_places(estate, self.target))
            raise Refused(f"{self.target} is the only path between {ends}", "choose another link: --target LINK")


def is_only_path(estate: Estate, link: str) -> bool:
    """Return whether the two ends of the link have no other path. Pure.

    Other paths lead through our own sites: a peer carries no traffic between its neighbours. Two sites of one city need
    another link of their own, because commits between them must not wait for the way through another city.
    """
    begin, end = _places(estate, link)
    others = [set(_places(estate, other.name)) for other in estate.links if other.name != link]
    cities = {site.name: site.city for site in estate.sites}
    if begin in cities and cities[begin] == cities.get(end):
        return {begin, end} not in others
    reached, found = {begin}, [begin]
    while found:
        place = found.pop()
        if place in cities or place == begin:
            beyond = {each for pair in others if place in pair for each in pair} - reached
            reached |= beyond
            found += beyond
    return end not in reached


def _places(estate: Estate, link: str) -> tuple[str, str]:
    """Return the sites or peers at the two ends of a link."""
    first, second = estate.link(link).ends
    return estate.host(first).at, estate.host(second).at
