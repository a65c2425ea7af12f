"""Role province: our half of the link to the province. The role frr has its routes; this role filters its traffic."""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole
from playbooks.host_spec import File, RoleSpec
from playbooks.render import bgp, nftables
from playbooks.render.text import header_comment, join_lines

PEER = "province"
CALLED_PORT = 443


def role_spec(estate: Estate, plan: AddressPlan, host: Host) -> RoleSpec:
    """Return the role on an edge that has a link to the province."""
    links = [n.link for n in bgp.neighbours(estate, plan, host) if n.place == PEER]
    path = f"{nftables.FRAGMENTS}/50-province.nft"
    text = _fragment(estate, plan, host, links) if links else header_comment("No link to the province", host.name)
    return RoleSpec(
        role="province",
        files=(File(path=path, text=text, validate="/usr/sbin/nft -c -f %s", notify=nftables.RELOAD),),
    )


def _fragment(estate: Estate, plan: AddressPlan, host: Host, links: list[str]) -> str:
    """Return the filter: our monitoring hosts and services may call the province's servers. Only answers return."""
    callers = [plan.lan(h.name) for h in estate.managed_hosts if h.kind in (HostRole.OPS, HostRole.KUBE)]
    peer = estate.peer(PEER)
    link = "{ " + ", ".join(f'"{name}"' for name in links) + " }"
    rules = []
    for word, ours, theirs, ping in (
        ("ip", [a.ipv4 for a in callers], peer.prefix4, "icmp"),
        ("ip6", [a.ipv6 for a in callers], peer.prefix6, "icmpv6"),
    ):
        hosts = "{ " + ", ".join(str(address) for address in ours) + " }"
        there, back = f"{word} saddr {hosts} {word} daddr {theirs}", f"{word} saddr {theirs} {word} daddr {hosts}"
        rules += [
            f"oifname {link} {there} tcp dport {CALLED_PORT} accept",
            f"oifname {link} {there} {ping} type echo-request accept",
            f"iifname {link} {back} tcp sport {CALLED_PORT} tcp flags & (syn | ack) != syn accept",
            f"iifname {link} {back} {ping} type {{ echo-reply, destination-unreachable, time-exceeded }} accept",
        ]
    chain = ["table inet govcloud {", "    chain forward_extra {", *(f"        {rule}" for rule in rules), "    }", "}"]
    return header_comment("What may cross the link to the province", host.name) + join_lines("", chain)
