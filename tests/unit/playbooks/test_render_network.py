"""The network, rendered for one host of each kind: compared with files that a network engineer can read.

After an intended change, write them again: GOVCLOUD_GOLDEN=write pytest tests/unit/playbooks/test_render_network.py
"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from estate.addressing import plan
from estate.model import Estate
from playbooks.host_spec import File, RoleSpec
from playbooks.render import fixture_files, fixture_units, frr, nftables, sysctls
from playbooks.role_assignment import Stack, hosts_of, roles
from tests import golden, image_programs

NETWORKD = "/etc/systemd/network"


def files_of(wanted: tuple[RoleSpec, ...]) -> dict[str, File]:
    """Return all files of a host's roles by path."""
    return {file.path: file for role in wanted for file in role.files}


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("futian-edge1", "/etc/frr/frr.conf"),
        ("shaoguan-edge1", "/etc/frr/frr.conf"),
        ("futian-edge1", "/etc/frr/daemons"),
        ("futian-edge1", "/etc/nftables.conf"),
        ("futian-kube1", "/etc/nftables.conf"),
        ("futian-data1", "/etc/nftables.conf"),
        ("futian-edge1", "/etc/govcloud/announcer.json"),
        ("futian-edge1", f"{NETWORKD}/20-city-a.network"),
        ("futian-kube1", f"{NETWORKD}/10-lan0.network"),
        ("futian-kube1", f"{NETWORKD}/30-lo.network"),
        ("futian-kube1", "/etc/hosts"),
    ],
)
def test_managed_host_matches_its_golden_file(estate: Estate, host: str, path: str) -> None:
    """Compare the exact text that is installed on our hosts."""
    compare(files_of(roles(estate, host, Stack.NETWORK))[path].text, host, path)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("internet-edge1", "/etc/frr/frr.conf"),
        ("province-edge1", "/etc/frr/frr.conf"),
        ("citizen1", f"{NETWORKD}/10-lan0.network"),
    ],
)
def test_fixture_matches_its_golden_file(estate: Estate, host: str, path: str) -> None:
    """Compare the exact text that is copied into the peers' machines."""
    compare({file.path: file for file in fixture_files(estate, host)}[path].text, host, path)


def test_link_to_the_province_matches_its_golden_file(estate: Estate) -> None:
    """Compare the filter of the link."""
    path = "/etc/nftables.d/50-province.nft"
    compare(files_of(roles(estate, "futian-edge1", Stack.PROVINCE))[path].text, "futian-edge1", path)


def compare(text: str, host: str, path: str) -> None:
    """Compare the text with the golden file, or write the golden file if requested."""
    golden.same(text, f"network/{host}/{Path(path).name}")


def test_no_file_names_the_management_interface_outside_the_filter(estate: Estate) -> None:
    """mgmt0 belongs to the machine room: a role that changes it could lock out every operator."""
    for host in estate.managed_hosts:
        for path, file in files_of(roles(estate, host.name, Stack.NETWORK)).items():
            if path != "/etc/nftables.conf":
                assert "mgmt0" not in file.text.replace("room's mgmt0", ""), path


def test_peers_receive_only_the_aggregate_and_the_province_also_our_segments(estate: Estate) -> None:
    """The outbound policy towards each peer permits nothing else."""
    config = frr_text(estate, "futian-edge1")
    for peer in ("internet", "bureaus"):
        assert permitted(config, f"TO-{peer}") == {"SERVICES"}
    assert permitted(config, "TO-province") == {"SERVICES", "LANS"}


def test_each_session_has_policies_both_ways_a_limit_and_an_unbroken_ttl(estate: Estate) -> None:
    """A neighbour without them would be a hole in the border."""
    for host in estate.managed_hosts:
        if not estate.links_of(host.name):
            continue
        lines = frr_text(estate, host.name).splitlines()
        neighbours = [line.split()[1] for line in lines if line.endswith(" activate")]
        assert len(neighbours) == 2 * len(estate.links_of(host.name))
        for address in neighbours:
            own = [line.strip() for line in lines if line.strip().startswith(f"neighbor {address} ")]
            assert any(" route-map FROM-" in line and line.endswith(" in") for line in own), address
            assert any(" route-map TO-" in line and line.endswith(" out") for line in own), address
            assert any(" maximum-prefix " in line for line in own), address
            assert f"neighbor {address} ttl-security hops 1" in own
            assert f"neighbor {address} bfd" in own


def test_only_a_standby_site_prepends_healthy_routes(estate: Estate) -> None:
    """The city sites are preferred as long as one of them serves."""
    assert not frr.is_standby_site(estate, "futian")
    assert frr.is_standby_site(estate, "shaoguan")
    assert "route-map TO-SITES permit 10" in frr_text(estate, "shaoguan-edge1")
    assert "route-map TO-SITES permit 10" not in frr_text(estate, "nanshan-edge1")


def test_a_bogon_range_with_a_peers_declared_prefix_is_accepted(estate: Estate) -> None:
    """A provincial network may use private addresses. Default routes and our own prefixes stay refused."""
    peers = tuple(
        p.model_copy(update={"prefix4": ip_network("172.20.0.0/16")}) if p.name == "province" else p
        for p in estate.peers
    )
    text = "\n".join(
        frr.edge_config(
            changed := estate.model_copy(update={"peers": peers}), plan(changed), changed.host("futian-edge1"), {}
        )
    )
    bogons = [line for line in text.splitlines() if " BOGONS " in line]
    assert not any("172.16.0.0/12" in line for line in bogons)
    assert any(line.endswith("permit 0.0.0.0/0") for line in bogons)
    assert any("203.0.113.0/24 le 32" in line for line in bogons)


def test_a_password_makes_the_whole_configuration_secret(estate: Estate) -> None:
    """A preview must never show it."""
    wanted = files_of(roles(estate, "futian-edge1", Stack.NETWORK, bgp_passwords={"city-a": "hidden"}))
    assert wanted["/etc/frr/frr.conf"].secret
    assert wanted["/etc/frr/frr.conf"].text.count("password hidden") == 2
    assert not files_of(roles(estate, "futian-edge1", Stack.NETWORK))["/etc/frr/frr.conf"].secret


def test_without_operators_keys_roots_keys_are_not_managed(estate: Estate) -> None:
    """An empty list must not lock out every operator."""

    def names(keys: tuple[str, ...]) -> set[str]:
        return {a.name for a in roles(estate, "futian-ops1", "network", operator_keys=keys)[0].accounts}

    assert names(()) == {"ops"}
    assert names(("ssh-ed25519 AAAA",)) == {"ops", "root"}


def test_only_members_reach_etcd_and_only_named_hosts_the_database(estate: Estate) -> None:
    """Ports of the data tier are never open to everyone."""
    for host in estate.managed_hosts:
        for opening in nftables.openings(estate, host):
            assert opening.sources or opening.ports == (443,)
    peers = next(o for o in nftables.openings(estate, estate.host("futian-data1")) if 2380 in o.ports)
    assert set(peers.sources) == {member.name for member in estate.etcd_members}


def test_routers_forward_and_others_do_not(estate: Estate) -> None:
    """A host that forwards by mistake is a way round the border."""
    assert sysctls.of(estate, estate.host("futian-edge1"))["net.ipv4.ip_forward"] == "1"
    assert sysctls.of(estate, estate.host("futian-data1"))["net.ipv4.ip_forward"] == "0"
    assert all(key.startswith("net.") for host in estate.hosts for key in sysctls.of(estate, host))


def test_only_peer_hosts_are_fixtures(estate: Estate) -> None:
    """A managed host is never rendered as a fixture, and a peer's host never by a role."""
    with pytest.raises(ValueError, match="our own"):
        fixture_files(estate, "futian-edge1")
    with pytest.raises(ValueError, match="not a managed host"):
        roles(estate, "citizen1", Stack.NETWORK)
    assert fixture_units(estate, "internet-edge1") == ("systemd-networkd.service", "frr.service")
    assert fixture_units(estate, "citizen1") == ("systemd-networkd.service",)


def test_every_host_of_a_stack_has_a_role(estate: Estate) -> None:
    """Every host of a stack gets at least one role."""
    assert len(hosts_of(estate, Stack.NETWORK)) == 12
    assert {h.name for h in hosts_of(estate, Stack.PROVINCE)} == {"futian-edge1", "nanshan-edge1", "shaoguan-edge1"}
    assert "shaoguan-ops1" not in {h.name for h in hosts_of(estate, Stack.DATA)}
    for stack in (Stack.NETWORK, Stack.PROVINCE):
        assert all(roles(estate, host.name, stack) for host in hosts_of(estate, stack))


def test_frr_itself_accepts_every_configuration(estate: Estate, tmp_path: Path) -> None:
    """The same check runs before the installation."""
    configs = {host.name: frr_text(estate, host.name) for host in estate.managed_hosts if estate.links_of(host.name)}
    for host in estate.peer_hosts:
        configs |= {f"{host.name}": f.text for f in fixture_files(estate, host.name) if f.path == "/etc/frr/frr.conf"}
    assert len(configs) == 6
    for name, text in configs.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        image_programs.accepts("vtysh", "-C", "-f", path)


def frr_text(estate: Estate, host: str) -> str:
    """Return the host's frr.conf."""
    return files_of(roles(estate, host, Stack.NETWORK))["/etc/frr/frr.conf"].text


def permitted(config: str, route_map: str) -> set[str]:
    """Return the prefix lists that a route map permits."""
    found, inside = set(), False
    for line in config.splitlines():
        if line.startswith("route-map "):
            inside = line.startswith(f"route-map {route_map} permit")
        if inside and "prefix-list" in line:
            found.add(line.split()[-1])
    return found
