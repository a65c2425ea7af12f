"""Applies the network roles to the running lab, then uses, cuts, manually changes and repairs the network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from estate.addressing import plan
from estate.model import Host, HostRole
from lab import names
from lab.api import Lab
from lab.command import network_of
from playbooks import compare, runner
from playbooks.host_spec import HostSpec
from playbooks.role_assignment import Stack, host_spec, hosts_of
from tests.lab.estate_on_lab import is_deployed
from tests.polling import until
from workstation import paths, ssh

pytestmark = pytest.mark.lab

REROUTE_S = 5.0
SETTLE_S = 60.0


class Network:
    """The lab with the stack `network` applied."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.estate, self.plan = lab, lab.estate, plan(lab.estate)

    def wanted(self, host: str) -> HostSpec:
        return host_spec(self.estate, host, Stack.NETWORK)

    def apply(self, wanted: HostSpec) -> runner.Applied:
        with network_of(names.NETNS_DIR / names.OPERATOR):
            return runner.apply(wanted, self.lab.access, artifacts=paths.cache() / "artifacts", timeout_s=300)

    def compare(self, wanted: HostSpec) -> tuple[compare.Difference, ...]:
        with network_of(names.NETNS_DIR / names.OPERATOR):
            return compare.compare(wanted, self.lab.access, timeout_s=60)

    def run(self, host: str, command: str) -> str:
        """Return the output of a shell command on the host."""
        argv = self.lab.shell_argv(host, ["sh", "-c", command])
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120).stdout

    def vtysh(self, host: str, command: str) -> dict[str, object]:
        return dict(json.loads(self.run(host, f"vtysh -c '{command} json'") or "{}"))

    def reaches(self, host: str, other: str, *, family: int = 4) -> bool:
        address = self.plan.lan(other)
        target = address.ipv4 if family == 4 else address.ipv6
        return "1 received" in self.run(host, f"ping -{family} -q -c1 -W1 {target}")

    def states(self, host: str) -> list[str]:
        """Return the state of each BGP session in both families. A working session is `Established`."""
        found = []
        for family in ("ipv4", "ipv6"):
            peers = self.vtysh(host, f"show bgp {family} unicast summary").get("peers", {})
            assert isinstance(peers, dict)
            found += [peer["state"] for peer in peers.values()]
        return found


@pytest.fixture(scope="module")
def network(session_lab: Lab) -> Iterator[Network]:
    """All managed hosts with the stack `network` applied and all BGP sessions established.

    The lab is new if the estate was deployed: an apply without the engine would leave hosts that `up` then changes.
    """
    lab = session_lab
    if is_deployed(lab):
        lab.down()
    lab.up()
    found = Network(lab)
    hosts = [found.wanted(host.name) for host in hosts_of(lab.estate, Stack.NETWORK)]
    ssh.on_each(hosts, found.apply, at_once=4)
    for host in edges(found):
        wanted = ["Established"] * 2 * len(lab.estate.links_of(host.name))
        until(f"the sessions of {host.name} are established", lambda: found.states(host.name) == wanted, SETTLE_S)  # noqa: B023
    yield found
    for link in lab.estate.links:
        lab.heal(link.name)


def edges(network: Network) -> list[Host]:
    return [host for host in network.estate.managed_hosts if host.kind is HostRole.EDGE]


def test_a_second_apply_changes_nothing_on_any_host(network: Network) -> None:
    """The comparison finds no difference on any host."""
    for host in hosts_of(network.estate, Stack.NETWORK):
        assert network.compare(network.wanted(host.name)) == (), host.name
    for host in ("futian-edge1", "nanshan-kube1", "shaoguan-data1", "shaoguan-ops1"):
        assert network.apply(network.wanted(host)).changes == ()


def test_every_session_is_monitored_by_bfd(network: Network) -> None:
    """Without BFD, routers notice a silent cut only after the hold time."""
    for host in edges(network):
        peers = json.loads(network.run(host.name, "vtysh -c 'show bfd peers json'"))
        assert len(peers) == 2 * len(network.estate.links_of(host.name))
        assert {peer["status"] for peer in peers} == {"up"}, host.name


def test_every_host_reaches_every_other_in_both_families(network: Network) -> None:
    """All hosts share one network. Each host's own filter decides which connections it accepts."""
    own = [host.name for host in network.estate.managed_hosts]
    for host in own:
        for family in (4, 6):
            rows = [network.plan.lan(other) for other in own if other != host]
            targets = " ".join(str(row.ipv4 if family == 4 else row.ipv6) for row in rows)
            script = f"for a in {targets}; do ping -{family} -q -c1 -W2 $a >/dev/null || echo $a; done"
            assert network.run(host, script) == "", f"{host} over IPv{family}"


def test_outside_machines_do_not_reach_our_hosts(network: Network) -> None:
    """They have no route, and the border's filter drops them. No router forwards to the management network."""
    for host in ("citizen1", "bureau1", "province-cloud1"):
        assert not network.reaches(host, "futian-data1")
    assert "203.0.113" not in network.run("internet-edge1", "ip route show 10.64.0.0/16 root 10.64.1.0/24")
    edge = network.run("futian-edge1", "nft list chain inet govcloud forward")
    assert 'oifname "mgmt0" counter' in edge


def test_cutting_every_direct_link_between_the_cities_reroutes_through_the_third_site(network: Network) -> None:
    """BFD notices a cut within a second. Both families are rerouted."""
    try:
        network.lab.cut("city-a")
        until("the route around one link works", lambda: network.reaches("futian-data1", "nanshan-data1"), REROUTE_S)
        network.lab.cut("city-b")
        for family in (4, 6):
            reaches = partial(network.reaches, "futian-data1", "nanshan-data1", family=family)
            until(f"the route through the third site works over IPv{family}", reaches, REROUTE_S)
        assert "via 10.64.128.7 dev ft-sg" in network.run("futian-edge1", "ip route get 10.64.2.21")
    finally:
        network.lab.heal("city-a")
        network.lab.heal("city-b")
    direct = partial(network.run, "futian-edge1", "ip route get 10.64.2.21")
    until("the direct route is back", lambda: "dev city-" in direct(), SETTLE_S)


def test_manual_changes_are_reported_and_repaired(network: Network) -> None:
    """The changes are a line in frr.conf, a stopped unit and a kernel setting."""
    wanted = network.wanted("shaoguan-edge1")
    network.run("shaoguan-edge1", "sed -i '$a ! by hand' /etc/frr/frr.conf; systemctl stop govcloud-announcer")
    network.run("shaoguan-edge1", "sysctl -qw net.ipv4.conf.all.send_redirects=1")
    found = {(d.kind, d.name) for d in network.compare(wanted)}
    assert found == {
        ("file", "/etc/frr/frr.conf"),
        ("unit", "govcloud-announcer.service"),
        ("sysctl", "net.ipv4.conf.all.send_redirects"),
    }
    assert network.apply(wanted).changed
    assert network.compare(wanted) == ()


@pytest.mark.nightly
def test_a_router_change_that_loses_a_neighbour_is_undone(network: Network) -> None:
    """The apply fails, and the router runs its previous configuration."""
    wanted = network.wanted("shaoguan-edge1")
    broken = with_frr(wanted, lambda text: text.replace("remote-as 4200000102", "remote-as 4200000199"))
    with pytest.raises(runner.PlaybookFailed, match="did not come back"):
        network.apply(broken)
    assert "4200000199" not in network.run("shaoguan-edge1", "cat /etc/frr/frr.conf")
    until(
        "all sessions are established again", lambda: set(network.states("shaoguan-edge1")) == {"Established"}, SETTLE_S
    )
    assert network.compare(wanted) == ()


def test_a_configuration_that_frr_refuses_never_reaches_the_router(network: Network) -> None:
    """FRR's own check fails before the file is replaced."""
    wanted = network.wanted("shaoguan-edge1")
    with pytest.raises(runner.PlaybookFailed, match="refused by its check"):
        network.apply(with_frr(wanted, lambda text: text.replace("router bgp", "rooter bgp")))
    assert network.compare(wanted) == ()


def with_frr(wanted: HostSpec, change: Callable[[str], str]) -> HostSpec:
    """Return the host's specification with a changed frr.conf."""
    path = "/etc/frr/frr.conf"
    file = wanted["files"][path]
    return {**wanted, "files": {**wanted["files"], path: {**file, "text": change(file["text"])}}}
