"""systemd-networkd: addresses and default routes of lan0, the links and lo.

mgmt0 is never named here: it belongs to the machine room. networkd does not touch routes that other programs set (FRR,
the announcer), not even when it restarts.
"""

from __future__ import annotations

from estate.addressing import AddressPlan, Dual, Interface
from estate.model import Estate, Host, HostRole
from playbooks.host_spec import File
from playbooks.render.text import header_comment, join_lines

FOLDER = "/etc/systemd/network"
RELOAD = ("reload:systemd-networkd.service",)


def files(estate: Estate, plan: AddressPlan, host: Host) -> tuple[File, ...]:
    """Return all networkd files of the host."""
    own = plan.hosts[host.name]
    found = [_segment(host, own.lan), *(_link(estate, host, interface) for interface in own.links)]
    if addresses := loopbacks(estate, plan, host):
        found.append(_lo(host, addresses))
    return (*found, _settings(host), _wait_online(host))


def loopbacks(estate: Estate, plan: AddressPlan, host: Host) -> tuple[str, ...]:
    """Return the addresses on lo: a router's own, and the anycast addresses on the hosts that serve them."""
    found = []
    if own := plan.hosts[host.name].loopback:
        found += [f"{own.ipv4}/32", f"{own.ipv6}/128"]
    if host.kind is HostRole.KUBE:
        for service in estate.public_services:
            if host.at in service.placement.sites:
                found += _single(plan.anycast[service.name])
    if host in estate.nodes_at(host.at):
        for gateway in plan.gateways.values():
            found += _single(gateway)
    return tuple(found)


def _single(address: Dual) -> list[str]:
    return [f"{address.ipv4}/32", f"{address.ipv6}/128"]


def _segment(host: Host, lan: Interface) -> File:
    gateways = [f"Gateway={lan.gateway.ipv4}", f"Gateway={lan.gateway.ipv6}"] if lan.gateway else []
    text = header_comment("Segment", host.name) + join_lines(
        "",
        "[Match]",
        f"Name={lan.name}",
        "",
        "[Network]",
        f"Address={lan.ipv4}",
        f"Address={lan.ipv6}",
        gateways,
        _quiet(),
    )
    return _file(f"10-{lan.name}.network", text)


def _link(estate: Estate, host: Host, interface: Interface) -> File:
    link = estate.link(interface.name)
    far = next(end for end in link.ends if end != host.name)
    text = header_comment(f"Link {link.name} to {far} over path {link.path}", host.name) + join_lines(
        "", "[Match]", f"Name={interface.name}", "", "[Network]", _addresses(interface), _quiet()
    )
    return _file(f"20-{interface.name}.network", text)


def _addresses(interface: Interface) -> list[str]:
    return [f"Address={interface.ipv4}", f"Address={interface.ipv6}"]


def _quiet() -> list[str]:
    """Return settings for static addressing only.

    Addresses stay if the carrier is lost, because BFD decides whether a link is up, not the carrier.
    """
    return ["ConfigureWithoutCarrier=yes", "DHCP=no", "IPv6AcceptRA=no", "LLDP=no", "LLMNR=no", "MulticastDNS=no"]


def _lo(host: Host, addresses: tuple[str, ...]) -> File:
    text = header_comment("Addresses of the host itself and of its services", host.name) + join_lines(
        "", "[Match]", "Name=lo", "", "[Network]", (f"Address={address}" for address in addresses)
    )
    return _file("30-lo.network", text)


def _settings(host: Host) -> File:
    text = header_comment("Behaviour of systemd-networkd", host.name) + join_lines(
        "# FRR and the announcer own their routes.",
        "",
        "[Network]",
        "ManageForeignRoutes=no",
        "ManageForeignRoutingPolicyRules=no",
    )
    path = "/etc/systemd/networkd.conf.d/60-govcloud.conf"
    return File(path=path, text=text, notify=("restart:systemd-networkd.service",))


def _wait_online(host: Host) -> File:
    text = header_comment("When the host counts as online", host.name) + join_lines(
        "# The machine room's mgmt0 is not networkd's; a link that is cut must not hold up the boot.",
        "",
        "[Service]",
        "ExecStart=",
        "ExecStart=/lib/systemd/systemd-networkd-wait-online --interface=lan0 --timeout=10",
    )
    return File(path="/etc/systemd/system/systemd-networkd-wait-online.service.d/60-govcloud.conf", text=text)


def _file(name: str, text: str) -> File:
    return File(path=f"{FOLDER}/{name}", text=text, notify=RELOAD)
