"""The address plan is unique and deterministic, and follows the declaration."""

from __future__ import annotations

import copy
from ipaddress import IPv4Address, ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from estate.address_report import FOLDER, markdown
from estate.addressing import plan, shortfalls
from estate.checks import check
from estate.checks.prefixes import addresses_of
from estate.loader import load, parse
from estate.model import Estate
from estate.problems import Source
from tests.unit.estate.documents import SOUND

ESTATE = parse()[0]
SOURCE = Source(files={}, fallback="generated")


def test_documented_addresses_are_the_computed_ones() -> None:
    """These are the addresses that operators know by heart."""
    computed = plan(ESTATE)
    assert str(computed.lan("futian-data1").ipv4) == "10.64.1.21"
    assert str(computed.lan("futian-data1").ipv6) == "fd64:c10d:0:1::21"
    assert str(computed.anycast["approval"].ipv4) == "203.0.113.10"
    assert str(computed.hosts["nanshan-edge1"].link("city-a").ipv4) == "10.64.128.3/31"
    assert str(computed.management("citizen1")) == "10.127.0.26"


def test_a_clusters_prefixes_follow_from_the_numbers_of_site_and_host(document: dict[str, object]) -> None:
    """This holds for both families. The first address of the Services is the API's."""
    document["kubernetes"]["clusters"] = [{"site": "nanshan", "version": "1.37.2"}]  # type: ignore[index]
    computed = plan(Estate.model_validate(document)).clusters
    assert list(computed) == ["nanshan"]
    own = computed["nanshan"]
    assert (str(own.pods.ipv4), str(own.pods.ipv6)) == ("10.130.0.0/16", "fd64:c10d:3:200::/56")
    node = own.nodes["nanshan-kube1"]
    assert (str(node.ipv4), str(node.ipv6)) == ("10.130.11.0/24", "fd64:c10d:3:20b::/64")
    assert (str(own.cluster_ips.ipv4), str(own.api.ipv4)) == ("10.192.32.0/20", "10.192.32.1")
    assert (str(own.cluster_ips.ipv6), str(own.api.ipv6)) == ("fd64:c10d:4::2:0/112", "fd64:c10d:4::2:1")


def test_a_services_address_in_a_cluster_is_fixed_and_not_assigned_by_kubernetes() -> None:
    """Kubernetes uses the first 256 addresses of a range only on request. The first address is the API's."""
    document = copy.deepcopy(SOUND)
    document["kubernetes"]["clusters"] = [{"site": "nanshan", "version": "1.37.2"}]
    for number in (10, 1, 199):
        document["services"][0]["number"] = number
        computed = plan(Estate.model_validate(document))
        own, found = computed.clusters["nanshan"], computed.service_cluster_ip("nanshan", "approval")
        if number == 10:
            assert (str(found.ipv4), str(found.ipv6)) == ("10.192.32.11", "fd64:c10d:4::2:b")
        for address, network in ((found.ipv4, own.cluster_ips.ipv4), (found.ipv6, own.cluster_ips.ipv6)):
            assert 1 < int(address) - int(network.network_address) <= 256


def test_a_declared_management_address_is_used(document: dict[str, object]) -> None:
    """A real host has the address that its machine room assigns."""
    document["hosts"][0]["platform"] = {"address": "172.20.1.9"}  # type: ignore[index]
    assert plan(Estate.model_validate(document)).management("futian-edge1") == IPv4Address("172.20.1.9")


@st.composite
def estates(draw: st.DrawFn) -> Estate:
    """Generate variations of the estate: other numbers, other orders, more hosts. Some break the rules."""
    document = copy.deepcopy(SOUND)
    numbers = draw(st.lists(st.integers(1, 63), min_size=3, max_size=3, unique=True))
    for site, number in zip(document["sites"], numbers, strict=True):
        site["number"] = number
    numbers = draw(st.lists(st.integers(1, 1023), min_size=13, max_size=13, unique=True))
    for link, number in zip(document["links"], numbers, strict=True):
        link["number"] = number
    for index in range(draw(st.integers(0, 8))):
        site, kind = document["sites"][index % 3]["name"], draw(st.sampled_from(["edge", "kube", "ops"]))
        number = draw(st.integers(1, 199))
        document["hosts"].append({"name": f"{site}-more{index}", "at": site, "kind": kind, "number": number})
    document["hosts"] = draw(st.permutations(document["hosts"]))
    return Estate.model_validate(document)


@given(estates())
@settings(max_examples=150, deadline=None)
def test_no_address_has_two_owners(estate: Estate) -> None:
    """A valid estate has unique addresses. A prefix that is too small is reported and gives no wrong address."""
    if check(estate, SOURCE)[0]:
        return
    assert shortfalls(estate) == []
    computed = plan(estate)
    owned = list(addresses_of(computed))
    assert len({address for _, address in owned}) == len(owned)
    for address in (str(a) for dual in computed.anycast.values() for a in (dual.ipv4, dual.ipv6)):
        assert address not in {owned_address for _, owned_address in owned}


@given(estates())
@settings(max_examples=50, deadline=None)
def test_the_plan_depends_on_numbers_only(estate: Estate) -> None:
    """The same estate gives the same plan. The declared order changes only management addresses."""
    if shortfalls(estate):
        return
    one, again = plan(estate), plan(estate.model_copy())
    assert one == again
    turned = plan(estate.model_copy(update={"hosts": tuple(reversed(estate.hosts))}))
    first = {host.name for place in estate.places for host in [estate.router_of(place.name)]}
    for name, host in one.hosts.items():
        assert turned.hosts[name].lan.ipv4 == host.lan.ipv4
        assert turned.hosts[name].loopback == host.loopback
    assert first


@given(estates())
@settings(max_examples=50, deadline=None)
def test_both_ends_of_a_link_share_its_prefix(estate: Estate) -> None:
    """The prefixes /31 and /127 have exactly two addresses."""
    if shortfalls(estate):
        return
    computed = plan(estate)
    for link in estate.links:
        one, other = (computed.hosts[end].link(link.name) for end in link.ends)
        assert one.ipv4.network == other.ipv4.network
        assert one.ipv6.network == other.ipv6.network
        assert {one.ipv4.ip, other.ipv4.ip} == set(one.ipv4.network)
        assert one.ipv6.network.prefixlen == 127


def test_every_address_is_in_a_declared_prefix() -> None:
    """No address comes from another prefix."""
    nets = ESTATE.networks
    pools = [nets.sites, nets.links, nets.loopbacks, nets.management]
    declared = [n for pool in pools for n in (pool.ipv4, pool.ipv6)]
    declared += [n for peer in ESTATE.peers for n in (peer.prefix4, peer.prefix6)]
    for owner, text in addresses_of(plan(ESTATE)):
        address = ip_address(text)
        assert any(address.version == n.version and address in n for n in declared), owner


def test_the_printed_plan_is_current() -> None:
    """`python -m estate.address_report` writes it again."""
    assert (FOLDER / "addresses.md").read_text(encoding="utf-8") == markdown(load())
