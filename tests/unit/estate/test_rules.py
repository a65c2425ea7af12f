"""Every rule refuses its mistake with the key path, the value and the next step."""

# ruff: noqa: E501 - one case a line reads as a table
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from estate import versions
from estate.checks import RULES, check
from estate.loader import parse
from tests.unit.estate.documents import Document, Refused, named

Spoil = Callable[[Document], object]


def put(section: str, entry: str, /, **fields: Any) -> Spoil:
    """Change fields of a named entry."""
    return lambda d: named(d[section], entry).update(fields)


def both_city_links_on_one_path(d: Document) -> None:
    """Put the second link into the first one's duct."""
    named(d["links"], "city-b")["path"] = "metro-north"


def without(section: str, *names: str) -> Spoil:
    """Remove entries."""
    return lambda d: d.update({section: [e for e in d[section] if e["name"] not in names]})


def network(name: str, /, **fields: str) -> Spoil:
    """Change a pool of prefixes."""
    return lambda d: d["networks"][name].update(fields)


def database(**fields: Any) -> Spoil:
    """Change the database section."""
    return lambda d: d["database"].update(fields)


def carrier(**fields: str | None) -> Spoil:
    """Change the carrier. None removes a field."""
    return lambda d: d.update(carrier={k: v for k, v in {**d["carrier"], **fields}.items() if v is not None})


def cluster(*sites: str) -> Spoil:
    """Declare Kubernetes at these sites only."""
    return lambda d: d["kubernetes"].update(clusters=[{"site": site, "version": "1.37.2"} for site in sites])


def pods(**fields: Any) -> Spoil:
    """Change the pods of approval."""
    return lambda d: d["services"][0]["pods"].update(fields)


def another_bureau(name: str, **quota: Any) -> Spoil:
    """Add one to the existing one."""
    entry = {
        "name": name,
        "title": {"zh": "某局", "en": "A bureau"},
        "quota": {"cpus": 0.1, "memory_mib": 64, "pods": 1, **quota},
    }
    return lambda d: d["bureaus"].append(entry)


HOSTS = {"records.planning.govcloud": {"pods": "records", "port": 8080}}


def gateway(hosts: dict[str, Any] = HOSTS, number: int = 1, pods: int = 4) -> Spoil:
    """Add a bureau with a valid gateway."""

    def spoil(d: Document) -> None:
        another_bureau("planning", cpus=0.4, memory_mib=256, pods=pods)(d)
        d["bureaus"][-1]["gateway"] = {"number": number, "hosts": hosts}

    return spoil


def another_gateway(d: Document) -> None:
    """Add a gateway with the same number and the same host as the existing one."""
    gateway()(d)
    another_bureau("housing", cpus=0.4, memory_mib=256, pods=4)(d)
    d["bureaus"][-1]["gateway"] = {"number": 1, "hosts": HOSTS}


def second_member_in_futian(d: Document) -> None:
    """Add a standby at the primary's site."""
    host = {**named(d["hosts"], "futian-data1"), "name": "futian-data2", "number": 22, "etcd_votes": 0}
    d["hosts"].append(host)


CASES: list[tuple[str, Spoil, str, str, str]] = [
    ("a host's name twice", lambda d: d["hosts"].append({**d["hosts"][1], "number": 12}), "hosts[18](futian-kube1).name", "futian-kube1", "change one"),
    ("a site's name twice", put("sites", "nanshan", name="futian"), "sites[1](futian).name", "futian", "change one"),
    ("a link's name twice", put("links", "city-b", name="city-a"), "links[1](city-a).name", "city-a", "change one"),
    ("a peer named as a site", put("peers", "province", name="futian"), "peers[0](futian).name", "futian", "rename"),
    ("a site's number twice", put("sites", "nanshan", number=1), "sites[1](nanshan).number", "1", "change one"),
    ("a link's number twice", put("links", "city-b", number=1), "links[1](city-b).number", "1", "change one"),
    ("a host's number twice in a site", put("hosts", "futian-ops1", number=21), "hosts[3](futian-ops1).number", "21", "change one"),
    ("an AS number twice", put("sites", "nanshan", asn=4200000001), "sites[1](nanshan).asn", "4200000001", "change one of them"),
    ("AS 0", put("sites", "futian", asn=0), "sites[0](futian).asn", "0", "must be at least 1"),
    ("an AS number of 33 bits", put("sites", "futian", asn=4294967296), "sites[0](futian).asn", "4294967296", "must be at most 4294967294"),
    ("the last AS number", put("sites", "futian", asn=65535), "sites[0](futian).asn", "65535", "assigned one"),
    ("AS_TRANS", put("sites", "futian", asn=23456), "sites[0](futian).asn", "23456", "assigned one"),
    ("a link named as an interface", put("links", "city-a", name="lan0"), "links[0](lan0).name", "lan0", "rename it"),
    ("a host nowhere", put("hosts", "citizen1", at="moon"), "hosts[15](citizen1).at", "moon", "known: futian"),
    ("an edge at a peer", put("hosts", "province-cloud1", kind="edge"), "hosts[13](province-cloud1).kind", "edge", "use one of"),
    ("a vantage at a site", put("hosts", "futian-kube1", kind="vantage"), "hosts[1](futian-kube1).kind", "vantage", "use one of"),
    ("a place without a gateway", without("hosts", "bureau-edge1"), "peers[2](bureaus)", "bureaus", "add a host of kind peer-router"),
    ("a link to nowhere", put("links", "city-a", ends=["futian-edge1", "moon"]), "links[0](city-a).ends[1]", "moon", "known:"),
    ("a link with one end", put("links", "city-a", ends=["futian-edge1"]), "links[0](city-a).ends[1]", "", "add it"),
    ("a link from a router to itself", put("links", "city-a", ends=["futian-edge1"] * 2), "links[0](city-a).ends", "futian-edge1, futian-edge1", "other end"),
    ("a link that ends at a server", put("links", "city-a", ends=["futian-edge1", "nanshan-kube1"]), "links[0](city-a).ends[1]", "nanshan-kube1", "name a router"),
    ("a vantage on no host", put("vantages", "citizen", host="moon"), "vantages[0](citizen).host", "moon", "known: citizen1"),
    ("a vantage on a server", put("vantages", "citizen", host="futian-kube1"), "vantages[0](citizen).host", "futian-kube1", "kind vantage"),
    ("a vantage of no service", put("vantages", "citizen", reaches=["tea"]), "vantages[0](citizen).reaches[0]", "tea", "known: approval"),
    ("a service without a vantage", lambda d: d.update(vantages=[]), "services[0](approval).name", "approval", "from no vantage"),
    ("a title with something hidden", put("sites", "futian", title={"zh": "福\u200b田", "en": "Futian"}), "sites[0](futian).title.zh", "'福\\u200b田'", "U+200B"),
    ("a title of nothing", put("sites", "futian", title={"zh": "  ", "en": "Futian"}), "sites[0](futian).title.zh", "'  '", "only spaces"),
    ("a mount point that is no path", put("hosts", "futian-ops1", disk={"size_mib": 512, "mount": "srv"}), "hosts[3](futian-ops1).disk.mount", "'srv'", "such as /srv/data"),
    ("a login that is none", put("hosts", "futian-ops1", platform={"user": "Root!"}), "hosts[3](futian-ops1).platform.user", "'Root!'", "such as operator"),
    ("a link's name that is too long", put("links", "city-a", name="city-a-of-the-north"), "links[0](city-a-of-the-north).name", "'city-a-of-the-north'", "1 to 15"),
    ("a service on no site", put("services", "approval", placement={"active": ["futian", "moon"]}), "services[0](approval).placement.active[1]", "moon", "known:"),
    ("a service in one site", put("services", "approval", placement={"active": ["futian"]}), "services[0](approval).placement.active", "futian", "second active site"),
    ("a service twice in a site", put("services", "approval", placement={"active": ["futian", "nanshan"], "ready": ["futian"]}), "services[0](approval).placement.ready[0]", "futian", "keep one"),
    ("a service where nothing runs it", without("hosts", "nanshan-kube1"), "services[0](approval).placement.active[1]", "nanshan", "kind kube"),
    ("a database without a disk", put("hosts", "futian-data1", disk=None), "hosts[2](futian-data1).disk", "", "add `disk:"),
    ("a vote without a disk", put("hosts", "futian-ops1", disk=None), "hosts[3](futian-ops1).disk", "", "add `disk:"),
    ("a disk over the system", put("hosts", "futian-ops1", disk={"size_mib": 512, "mount": "/etc"}), "hosts[3](futian-ops1).disk.mount", "/etc", "below /srv"),
    ("a disk over the packages' records", put("hosts", "futian-ops1", disk={"size_mib": 512, "mount": "/var/lib/dpkg"}), "hosts[3](futian-ops1).disk.mount", "/var/lib/dpkg", "below /srv"),
    ("a disk over all that services keep", put("hosts", "futian-ops1", disk={"size_mib": 512, "mount": "/var/lib/"}), "hosts[3](futian-ops1).disk.mount", "/var/lib/", "below /srv"),
    ("a disk over all disks", put("hosts", "futian-ops1", disk={"size_mib": 512, "mount": "/mnt/"}), "hosts[3](futian-ops1).disk.mount", "/mnt/", "below /srv"),
    ("a management address that is none", put("hosts", "futian-ops1", platform={"address": "10.0.0.999"}), "hosts[3](futian-ops1).platform.address", "'10.0.0.999'", "correct it"),
    ("a management address of another host", put("hosts", "futian-ops1", platform={"address": "10.127.0.12"}), "hosts[3](futian-ops1).platform.address", "10.127.0.12", "is an address of futian-kube1"),
    ("a management address of the operator", put("hosts", "futian-ops1", platform={"address": "10.127.0.1"}), "hosts[3](futian-ops1).platform.address", "10.127.0.1", "the operator"),
    ("a management address on a site's segment", put("hosts", "futian-ops1", platform={"address": "10.64.1.11"}), "hosts[3](futian-ops1).platform.address", "10.64.1.11", "is an address of futian-kube1"),
    ("a management address of no machine", put("hosts", "futian-ops1", platform={"address": "0.0.0.0"}), "hosts[3](futian-ops1).platform.address", "0.0.0.0", "where its SSH answers"),
    ("a service that the platform does not ship", put("services", "approval", name="tea"), "services[0](tea).name", "tea", "known: approval"),
    ("a reserved range", network("management", ipv4="240.0.0.0/20"), "networks.management.ipv4", "240.0.0.0/20", "cannot be routed"),
    ("both city links on one path", both_city_links_on_one_path, "links[1](city-b).path", "metro-north", "another path"),
    ("cities without a direct link", without("links", "city-a", "city-b"), "sites[0](futian)", "futian", "add two"),
    ("the remote site on one path", put("links", "ns-sg", path="trunk-east"), "links[2](ft-sg).path", "trunk-east", "another path"),
    ("no link to the remote site", without("links", "ft-sg", "ns-sg"), "links", "shaoguan", "add one"),
    ("no uplink of a site", without("links", "sg-inet"), "sites[2](shaoguan)", "shaoguan", "no uplink to internet"),
    ("all uplinks on one path", lambda d: [x.update(path="carrier-1") for x in d["links"] if x["name"].endswith("-inet")], "links[6](sg-inet).path", "carrier-1", "another path"),
    ("overlapping pools", network("links", ipv4="10.64.0.0/20"), "networks.links.ipv4", "10.64.0.0/20", "overlaps networks.sites.ipv4 (10.64.0.0/18)"),
    ("overlapping peers", put("peers", "bureaus", prefix4="192.0.2.0/24"), "peers[2](bureaus).prefix4", "192.0.2.0/24", "make them disjoint"),
    ("overlapping IPv6", network("services", ipv6="fd64:c10d::/32"), "networks.services.ipv6", "fd64:c10d::/32", "overlaps"),
    ("no room for the sites", network("sites", ipv4="10.64.0.0/23"), "networks.sites.ipv4", "10.64.0.0/23", "wider prefix"),
    ("no room for the links", network("links", ipv4="10.64.128.0/28"), "networks.links.ipv4", "10.64.128.0/28", "wider prefix"),
    ("no room for management", network("management", ipv4="10.127.0.0/28"), "networks.management.ipv4", "10.127.0.0/28", "wider prefix"),
    ("no room for loopbacks", network("loopbacks", ipv4="10.64.192.0/28"), "networks.loopbacks.ipv4", "10.64.192.0/28", "wider prefix"),
    ("no room for IPv6 sites", network("sites", ipv6="fd64:c10d::/64"), "networks.sites.ipv6", "fd64:c10d::/64", "wider prefix"),
    ("no room at a peer", put("peers", "internet", prefix4="198.51.100.0/29"), "peers[1](internet).prefix4", "198.51.100.0/29", "wider prefix"),
    ("no room for a gateway", lambda d: [gateway(HOSTS)(d), network("services", ipv4="203.0.113.0/26")(d)], "networks.services.ipv4", "203.0.113.0/26", "address number 201 does not fit"),
    ("an unannounceable service", network("services", ipv4="203.0.113.0/25"), "networks.services.ipv4", "203.0.113.0/25", "widen it"),
    ("a loopback prefix", network("sites", ipv4="127.0.0.0/18"), "networks.sites.ipv4", "127.0.0.0/18", "cannot be routed"),
    ("a multicast prefix", network("sites", ipv6="ff02::/48"), "networks.sites.ipv6", "ff02::/48", "cannot be routed"),
    ("the whole internet", network("sites", ipv4="0.0.0.0/0"), "networks.sites.ipv4", "0.0.0.0/0", "the assigned"),
    ("IPv6 missing", lambda d: d["networks"]["sites"].pop("ipv6"), "networks.sites.ipv6", "", "add it"),
    ("IPv4 in the place of IPv6", network("sites", ipv6="10.0.0.0/8"), "networks.sites.ipv6", "'10.0.0.0/8'", "correct it"),
    ("host bits in a prefix", network("sites", ipv4="10.64.0.1/18"), "networks.sites.ipv4", "'10.64.0.1/18'", "correct it"),
    ("an even number of votes", put("hosts", "shaoguan-data1", etcd_votes=0), "hosts[7](nanshan-ops1).etcd_votes", "4", "odd number"),
    ("one vote", lambda d: [h.update(etcd_votes=0) for h in d["hosts"][:10]], "hosts[10](shaoguan-data1).etcd_votes", "1", "at least 3"),
    ("a site with a majority", lambda d: [put("hosts", n, etcd_votes=v)(d) for n, v in (("nanshan-ops1", 0), ("shaoguan-data1", 0))], "hosts[3](futian-ops1).etcd_votes", "2", "move a vote elsewhere"),
    ("a vote on a server of applications", lambda d: [put("hosts", n, etcd_votes=v)(d) for n, v in (("futian-ops1", 0), ("futian-kube1", 1))], "hosts[1](futian-kube1).etcd_votes", "futian-kube1", "move it"),
    ("a standby beside the primary", second_member_in_futian, "hosts[18](futian-data2).database", "futian-data2", "one database member per site"),
    ("two copies in all", lambda d: [put("hosts", "shaoguan-data1", database=False)(d), database(acknowledging=["nanshan"])(d)], "database.acknowledging", "futian, nanshan", "three sites"),
    ("a promotable site without a member", put("hosts", "futian-data1", database=False), "database.promotable[0]", "futian", "has no database member"),
    ("a member without a part", database(acknowledging=["nanshan"]), "hosts[10](shaoguan-data1).database", "shaoguan-data1", "add it to one"),
    ("a site with two parts", database(acknowledging=["shaoguan", "futian"]), "database.acknowledging[1]", "futian", "keep one"),
    ("an unknown database site", database(acknowledging=["shaoguan", "moon"]), "database.acknowledging[1]", "moon", "known:"),
    ("a remote site that may be promoted", database(promotable=["futian", "shaoguan"], acknowledging=["nanshan"]), "database.promotable", "futian, shaoguan", "database.acknowledging"),
    ("timers that overlap", database(retry_timeout_s=10), "database.ttl_s", "20", "is 21"),
    ("a ttl that Patroni refuses", database(ttl_s=10), "database.ttl_s", "10", "must be at least 20"),
    ("a city without processors", put("hosts", "futian-kube1", cpus=1.0), "hosts[1](futian-kube1).cpus", "1", "1.5 processors"),
    ("a cluster nowhere", cluster("moon"), "kubernetes.clusters[0].site", "moon", "known: futian"),
    ("two clusters at a site", cluster("shaoguan", "shaoguan"), "kubernetes.clusters[1].site", "shaoguan", "keep one"),
    ("a version that nothing builds", lambda d: d["kubernetes"]["clusters"][1].update(version="1.35.9"), "kubernetes.clusters[1].version", "1.35.9", "use 1.36.4 or 1.37.2"),
    ("a patch that nothing builds", lambda d: d["kubernetes"]["clusters"][0].update(version="1.37.3"), "kubernetes.clusters[0].version", "1.37.3", "is not pinned"),
    ("a cluster without nodes", lambda d: [without("hosts", "shaoguan-kube1")(d), cluster("shaoguan")(d)], "kubernetes.clusters[0].site", "shaoguan", "kind kube"),
    ("a cluster of no version", lambda d: d["kubernetes"].update(clusters=[{"site": "futian", "version": "latest"}]), "kubernetes.clusters[0].version", "'latest'", "such as 1.37.2"),
    ("a service where there is no cluster", cluster("futian", "shaoguan"), "services[0](approval).placement.active[1]", "nanshan", "no Kubernetes cluster"),
    ("a service ready where there is no cluster", cluster("futian", "nanshan"), "services[0](approval).placement.ready[0]", "shaoguan", "no Kubernetes cluster"),
    ("a node without a disk", lambda d: [put("hosts", "futian-kube1", disk=None)(d), cluster("futian")(d)], "hosts[1](futian-kube1).disk", "", "Kubernetes node"),
    ("a node with a small disk", lambda d: [put("hosts", "futian-kube1", disk={"size_mib": 512, "mount": "/srv/data"})(d), cluster("futian")(d)], "hosts[1](futian-kube1).disk.size_mib", "512", "at least 3072"),
    ("a node without memory for Kubernetes", lambda d: [put("hosts", "futian-kube1", memory_mib=1536)(d), cluster("futian")(d)], "hosts[1](futian-kube1).memory_mib", "1536", "2048 MiB"),
    ("no room for pods", lambda d: d["kubernetes"]["pods"].update(ipv4="10.128.0.0/16"), "kubernetes.pods.ipv4", "10.128.0.0/16", "wider prefix"),
    ("no room for cluster addresses", lambda d: d["kubernetes"]["cluster_ips"].update(ipv6="fd64:c10d:4::/112"), "kubernetes.cluster_ips.ipv6", "fd64:c10d:4::/112", "wider prefix"),
    ("pods among the hosts", lambda d: d["kubernetes"]["pods"].update(ipv4="10.64.0.0/10"), "kubernetes.pods.ipv4", "10.64.0.0/10", "overlaps networks.sites.ipv4"),
    ("control groups of another version", put("hosts", "futian-kube1", platform={"cgroups": "v3"}), "hosts[1](futian-kube1).platform.cgroups", "'v3'", "correct it"),
    ("pods without a number at a site", pods(replicas={"futian": 2, "shaoguan": 2}), "services[0](approval).pods.replicas.nanshan", "", "add it"),
    ("pods where the service does not run", pods(replicas={"futian": 2, "nanshan": 2, "shaoguan": 2, "moon": 1}), "services[0](approval).pods.replicas.moon", "1", "does not run at moon"),
    ("no pods at a site", pods(replicas={"futian": 2, "nanshan": 0, "shaoguan": 2}), "services[0](approval).pods.replicas.nanshan", "0", "must be at least 1"),
    ("one pod in a city", pods(replicas={"futian": 1, "nanshan": 2, "shaoguan": 2}), "services[0](approval).pods.replicas.futian", "1", "at least 2"),
    ("no processors for a new version", lambda d: [pods(cpus=0.5)(d), cluster("futian")(d)], "bureaus[0](human-resources).quota.cpus", "1.5", "at futian need while a version changes, 2 processors"),
    ("no memory for a new version", lambda d: [pods(memory_mib=512)(d), cluster("futian")(d)], "bureaus[0](human-resources).quota.memory_mib", "1024", "2048 MiB"),
    ("no pods for a new version", put("bureaus", "human-resources", quota={"cpus": 1.5, "memory_mib": 1024, "pods": 3}), "bureaus[0](human-resources).quota.pods", "3", "4 pods"),
    ("a bureau's name twice", another_bureau("human-resources"), "bureaus[1](human-resources).name", "human-resources", "change one"),
    ("a bureau named as a namespace of Kubernetes", another_bureau("kube-system"), "bureaus[1](kube-system).name", "kube-system", "another name"),
    ("a bureau named as the common namespace", another_bureau("default"), "bureaus[1](default).name", "default", "another name"),
    ("a service without a bureau", put("services", "approval", bureau="tea"), "services[0](approval).bureau", "tea", "known: human-resources"),
    ("a quota below what the service needs", put("bureaus", "human-resources", quota={"cpus": 1.0, "memory_mib": 1024, "pods": 8}), "bureaus[0](human-resources).quota.cpus", "1", "approval needs alone, 1.5 processors"),
    ("a quota without memory for the service", put("bureaus", "human-resources", quota={"cpus": 1.5, "memory_mib": 512, "pods": 8}), "bureaus[0](human-resources).quota.memory_mib", "512", "1024 MiB"),
    ("quotas beyond a site's processors", lambda d: [another_bureau("planning", cpus=0.75)(d), cluster("shaoguan")(d)], "bureaus[1](planning).quota.cpus", "0.75", "shaoguan have left, 0.5 processors"),
    ("a quota beyond a site's memory", lambda d: [put("bureaus", "human-resources", quota={"cpus": 1.5, "memory_mib": 65536, "pods": 8})(d), cluster("futian")(d)], "bureaus[0](human-resources).quota.memory_mib", "65536", "futian have left"),
    ("a quota of no pods", another_bureau("planning", pods=0), "bureaus[1](planning).quota.pods", "0", "must be at least 1"),
    ("a gateway's host that DNS refuses", gateway({"Records_1.govcloud": HOSTS["records.planning.govcloud"]}), "bureaus[1](planning).gateway.hosts.Records_1.govcloud.[key]", "'Records_1.govcloud'", "lower-case letters"),
    ("a gateway's host that is an address", gateway({"10.64.1.11": HOSTS["records.planning.govcloud"]}), "bureaus[1](planning).gateway.hosts.10.64.1.11.[key]", "'10.64.1.11'", "lower-case letters"),
    ("a gateway without hosts", gateway({}), "bureaus[1](planning).gateway.hosts", "{}", "must have an entry"),
    ("a gateway to a port of root", gateway({"records.govcloud": {"pods": "records", "port": 80}}), "bureaus[1](planning).gateway.hosts.records.govcloud.port", "80", "must be at least 1024"),
    ("a gateway to another bureau's pods", gateway({"records.govcloud": {"pods": "approval", "port": 8080}}), "bureaus[1](planning).gateway.hosts.records.govcloud.pods", "approval", "a service of human-resources"),
    ("a gateway to itself", gateway({"records.govcloud": {"pods": "planning-gateway", "port": 8443}}), "bureaus[1](planning).gateway.hosts.records.govcloud.pods", "planning-gateway", "name other pods"),
    ("a gateway for a promised service's name", gateway({"approval.govcloud": HOSTS["records.planning.govcloud"]}), "bureaus[1](planning).gateway.hosts", "approval.govcloud", "the service approval already"),
    ("a host of two gateways", another_gateway, "bureaus[2](housing).gateway.hosts", "records.planning.govcloud", "the bureau planning already"),
    ("a gateway's number twice", another_gateway, "bureaus[2](housing).gateway.number", "1", "number of planning's gateway"),
    ("a gateway without a cluster", lambda d: [gateway()(d), cluster()(d)], "bureaus[1](planning).gateway", "", "add one to kubernetes.clusters"),
    ("a quota without the gateway's pods", gateway(pods=3), "bureaus[1](planning).quota.pods", "3", "4 pods"),
    ("a carrier with two addresses", carrier(url="https://sms.example/api"), "carrier", "", "keep one of them"),
    ("a carrier without an address", carrier(simulated_on=None), "carrier", "", "keep one of them"),
    ("a carrier with a plain address", carrier(url="http://sms.example"), "carrier.url", "'http://sms.example'", "https"),
    ("a carrier simulated on our own host", carrier(simulated_on="futian-ops1"), "carrier.simulated_on", "futian-ops1", "province-cloud1"),
    ("a simulated carrier on a real estate", lambda d: d.update(lab=False), "carrier.simulated_on", "province-cloud1", "only for a lab"),
    ("messages to synthetic people by a real carrier", carrier(simulated_on=None, url="https://sms.example"), "carrier.deliver_synthetic", "1540", "remove it"),
    ("a city without memory", put("hosts", "nanshan-kube1", memory_mib=512), "hosts[5](nanshan-kube1).memory_mib", "512", "2048 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "key", "value", "remedy"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_is_refused_with_key_value_and_remedy(
    document: Document, refused: Refused, spoil: Spoil, key: str, value: str, remedy: str
) -> None:
    """The mistake is reported at its key. Other problems may follow from it."""
    spoil(document)
    problems = refused(document)
    found = [p for p in problems if p.key == key and remedy in p.message]
    assert found, "\n".join(map(str, problems))
    assert found[0].value == value


def test_the_projects_own_estate_keeps_every_rule() -> None:
    """The rules are run on a non-empty estate."""
    estate, source = parse()
    assert check(estate, source) == ([], 0)
    assert len(RULES) == len(set(RULES)) > 25


def test_sites_two_minors_apart_are_refused(
    document: Document, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if both can be built: all sites are upgraded from one minor to the next."""
    monkeypatch.setattr(versions, "KUBERNETES", ("1.35.9", *versions.KUBERNETES))
    for version, wrong in (("1.36.4", False), ("1.35.9", True)):
        document["kubernetes"]["clusters"][1].update(version=version)
        document["sites"][0]["asn"] = 23456  # wrong in any case, so that there is an answer to read
        found = [p for p in refused(document) if "minor behind" in p.message]
        assert [p.key for p in found] == (["kubernetes.clusters[1].version"] if wrong else [])


def test_two_routers_with_one_loopback_are_refused(document: Document, refused: Refused) -> None:
    """Loopbacks are numbered by site and host: the tenth edge of a site would equal the next site's first."""
    document["hosts"].append({**named(document["hosts"], "futian-edge1"), "name": "futian-edge2", "number": 11})
    named(document["hosts"], "futian-kube1")["number"] = 12
    found = [p for p in refused(document) if "10.64.192.21" in p.value]
    assert found
    assert "another number" in found[0].message


def test_example_numbers_are_advised_against_on_a_real_estate(document: Document) -> None:
    """They are correct only in a lab. Advice does not refuse the estate."""
    from estate.checks import advise
    from estate.model import Estate
    from estate.problems import Source

    source = Source(files={}, fallback="x")
    assert advise(Estate.model_validate(document), source) == []
    real = Estate.model_validate(
        {**document, "lab": False, "sites": [{**document["sites"][0], "asn": 64500}, *document["sites"][1:]]}
    )
    found = {problem.key: problem.message for problem in advise(real, source)}
    assert "reserved for examples" in found["sites[0](futian).asn"]
    assert "reserved for examples" in found["networks.services.ipv4"]
