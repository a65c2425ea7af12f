"""Tests the protections of citizens and their data on the running estate."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from estate.addressing import plan
from estate.model import HostRole
from facts import ports
from lab.api import Lab
from playbooks.render.kubernetes.cluster import API_PORT, REGISTRY_PORT
from tests import scripts
from tests.lab import pods_on_lab
from tests.lab.estate_on_lab import Hosts, resolve, until_well
from tests.polling import until
from workstation import namespace, paths

pytestmark = pytest.mark.lab

DATA = ("futian-data1", "nanshan-data1", "shaoguan-data1")
BURST = """
import collections, json, socket, ssl, sys, threading
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
answers = []

def ask():
    try:
        with socket.create_connection((sys.argv[1], 443), 4) as wire, context.wrap_socket(wire) as stream:
            stream.sendall(b"GET /readyz HTTP/1.1\\r\\nHost: approval.govcloud\\r\\nConnection: close\\r\\n\\r\\n")
            answers.append(stream.recv(200).split(b"\\r\\n")[0].decode())
    except OSError as error:
        answers.append(str(error))

threads = [threading.Thread(target=ask) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(collections.Counter(answers)))
"""
"""Opens many connections at once. Prints how often each first line of an answer, or each error, occurred."""


@pytest.fixture
def asked(deployed: Hosts) -> Hosts:
    """The machines, for tests that only read. The estate has no problem before the first of these tests."""
    if not WELL:
        until_well(120)
        WELL.append(True)
    return deployed


WELL: list[bool] = []


@pytest.fixture
def hosts(hosts: Hosts) -> Iterator[Hosts]:
    """The machines, for tests that disturb the estate. The estate has no problem before and after each."""
    yield hosts
    until_well(180)


def announced(hosts: Hosts) -> set[str]:
    """Return the sites through which the internet's router reaches the service's addresses in both families.

    For a site with a route in only one family, the entry names that family.
    """
    found = {
        family: _sites_in(hosts.run("internet-edge1", "ip", f"-{family}", "route", "show", prefix))
        for family, prefix in ((4, "203.0.113.0/24"), (6, "2001:db8:113::/48"))
    }
    alone = {f"{site} over IPv{family} alone" for family in found for site in found[family] - found[10 - family]}
    return (found[4] & found[6]) | alone


def _sites_in(routes: str) -> set[str]:
    links = {"futian": "ft-inet", "nanshan": "ns-inet", "shaoguan": "sg-inet"}
    return {site for site, link in links.items() if link in routes}


def learned(hosts: Hosts) -> set[str]:
    """Return the prefixes that the other sites' edges learned by BGP, in both families, each with its edge."""
    return {
        f"{edge} {line.split()[0]}"
        for edge in ("nanshan-edge1", "shaoguan-edge1")
        for family in (4, 6)
        for line in hosts.run(edge, "ip", f"-{family}", "route", "show", "proto", "bgp").splitlines()
        if not line.startswith((" ", "\t"))
    }


@contextmanager
def frozen_patronis(hosts: Hosts) -> Iterator[None]:
    """Freeze every Patroni with SIGSTOP. PostgreSQL continues to run."""
    for host in DATA:
        hosts.run(host, "systemctl", "kill", "--kill-whom=main", "-s", "STOP", "patroni")
    try:
        yield
    finally:
        for host in DATA:
            hosts.run(host, "systemctl", "kill", "--kill-whom=main", "-s", "CONT", "patroni")


PEOPLE = scripts.load(paths.repo() / "services/approval/src/approval/people.py")


def apply(hosts: Hosts, n: int) -> tuple[str, str]:
    """Send a citizen's application with a key made of `n`. Return the HTTP status and headers."""
    body = json.dumps({**PEOPLE.applicant(hosts.lab.estate.registers.seed, n), "synthetic": True})
    answer = hosts.run(
        "citizen1", "curl", "-sk", "-m", "8", "-o", "/dev/null", "-D", "-", "-w", "%{http_code}",
        "-H", f"Idempotency-Key: {key_of(n)}", "-H", "Content-Type: application/json", "-d", body,
        *resolve(hosts.lab), "https://approval.govcloud/v1/applications", check=False,
    )  # fmt: skip
    headers, _, status = answer.rpartition("\n")
    return status, headers.lower()


def key_of(n: int) -> str:
    """Return an idempotency key that is unique to this run."""
    return str(uuid.uuid5(RUN, str(n)))


RUN = uuid.uuid4()


def test_without_patroni_both_cities_stay_announced_and_answer_reads_but_refuse_writes(hosts: Hosts) -> None:
    """A site is announced while it can answer, even without a writable primary.

    A citizen can still read a decision. A new application is refused at once, with the time to retry.
    """
    status, _ = apply(hosts, 1)
    assert status == "201"
    decision = f"/v1/applications/{key_of(1)}"
    until("the decision is in the local copy", lambda: hosts.status_of(decision) == "200", 10)
    with frozen_patronis(hosts):
        until("writes are refused", lambda: hosts.status_of("/writez") == "503", 60)
        assert announced(hosts) == {"futian", "nanshan"}
        for family in (4, 6):
            assert hosts.status_of("/readyz", family=family) == "200"
            assert hosts.status_of("/", family=family) == "200"
            assert hosts.status_of(decision, family=family) == "200"
        status, headers = apply(hosts, 2)
        assert status == "503"
        assert "retry-after:" in headers


def test_a_city_without_pods_withdraws_only_the_services_addresses(hosts: Hosts) -> None:
    """The other city answers. All other routes of the city stay."""
    before = learned(hosts)
    assert len(before) > 8
    with pods_on_lab.none(hosts, "futian-kube1"):
        until("futian is withdrawn", lambda: announced(hosts) == {"nanshan"}, 20)
        until("citizens are answered", lambda: hosts.status_of("/readyz") == "200", 10)
        lost = {entry for entry in before - learned(hosts) if not entry.split()[1].startswith(ANYCAST)}
        assert lost == set()
    until("futian is announced again", lambda: announced(hosts) == {"futian", "nanshan"}, 30)


ANYCAST = ("203.0.113.", "2001:db8:113:")


def test_without_pods_in_either_city_the_third_site_answers(hosts: Hosts) -> None:
    """Citizens read and write through the third site until a city answers again."""
    with pods_on_lab.none(hosts, "futian-kube1"), pods_on_lab.none(hosts, "nanshan-kube1"):
        until("only the third site is announced", lambda: announced(hosts) == {"shaoguan"}, 30)
        for family in (4, 6):
            until(
                f"citizens are answered over IPv{family}",
                lambda over=family: hosts.status_of("/readyz", family=over) == "200",
                20,
            )
        status, headers = apply(hosts, 3)
        assert status == "201"
        assert "shaoguan" in headers
    until("the cities are announced again", lambda: announced(hosts) == {"futian", "nanshan"}, 30)


TLS_PORTS = (
    ("etcd client", HostRole.DATA, 2379),
    ("etcd peer", HostRole.DATA, 2380),
    ("Patroni", HostRole.DATA, 8008),
    ("ingress", HostRole.KUBE, 443),
)


@pytest.mark.parametrize(("what", "kind", "port"), TLS_PORTS, ids=[what for what, _, _ in TLS_PORTS])
def test_plain_text_and_a_foreign_authority_are_refused(asked: Hosts, what: str, kind: HostRole, port: int) -> None:
    """On every TLS port, HTTP without TLS gets no answer. Only the estate's CA verifies the certificate."""
    estate = asked.lab.estate
    target = estate.hosts_at("nanshan", kind)[0]
    address = plan(estate).lan(target.name).ipv4
    asker = "futian-data1" if kind is HostRole.DATA else "citizen1"
    target_name = target.name if kind is HostRole.DATA else "approval.govcloud"
    if kind is HostRole.KUBE:
        address = plan(estate).anycast["approval"].ipv4
    curl = ["curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}"]
    plain = asked.run(asker, *curl, f"http://{address}:{port}/", check=False)
    assert plain in ("000", "400"), plain
    where = ["--resolve", f"{target_name}:{port}:{address}", f"https://{target_name}:{port}/"]
    untrusted = asked.run(asker, "sh", "-c", 'curl -s -m 3 "$@"; echo "exit $?"', "sh", *where)
    assert untrusted.strip().endswith("exit 60"), untrusted


@pytest.mark.parametrize(
    ("what", "port", "path"),
    [
        ("API server", API_PORT, "api"),
        ("kubelet", ports.KUBELET, "pods"),
        ("registry", REGISTRY_PORT, "v2/"),
    ],
)
def test_a_cluster_refuses_plain_text_and_clients_without_a_certificate(
    asked: Hosts, what: str, port: int, path: str
) -> None:
    """The client is on the node, where no firewall refuses it. Only a certificate of the right CA gives access."""
    node = "nanshan-kube1"
    address = plan(asked.lab.estate).lan(node).ipv4
    curl = ["curl", "-s", "-k", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}"]
    plain = asked.run(node, *curl, f"http://{address}:{port}/{path}", check=False)
    assert plain in ("000", "400"), plain
    anonymous = asked.run(node, *curl, f"https://{address}:{port}/{path}", check=False)
    assert anonymous in ("000", "401"), anonymous
    untrusted = asked.run(node, "sh", "-c", 'curl -s -m 3 "$1"; echo "exit $?"', "sh", f"https://{address}:{port}/")
    assert untrusted.strip().endswith("exit 60"), untrusted


FORGE = r"""
exec 2>/dev/null
set -eu
authority=$1 cert=$2 key=$3 url=$4
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
subject() { openssl x509 -in "$1" -noout -subject -nameopt compat | sed 's/^subject=//; s/^ *//'; }
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $new -subj "$(subject "$authority")" -days 2 -keyout "$folder/ca.key" -out "$folder/ca.crt"
openssl req $new -subj "$(subject "$cert")" -keyout "$folder/forged.key" -out "$folder/forged.csr"
openssl x509 -req -in "$folder/forged.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial -days 2 \
    -out "$folder/forged.crt"
ask() { curl -sk --http1.1 -m 3 -o /dev/null -w '%{http_code}\n' --cert "$1" --key "$2" "$url" || :; }
ask "$folder/forged.crt" "$folder/forged.key"
ask "$cert" "$key"
"""
"""Prints the HTTP statuses for a forged and for the right client certificate. The forged one has the same names, and an
authority of the same name with another key signed it."""
OWN = ("/etc/govcloud/pki/ca.crt", "/etc/govcloud/pki/host.crt", "/etc/govcloud/pki/host.key")
CLUSTER = "/etc/kubernetes/pki"


@pytest.mark.parametrize(
    ("asker", "target", "port", "path", "files"),
    [
        ("futian-data1", "nanshan-data1", 2379, "version", OWN),
        ("futian-data1", "nanshan-data1", 2380, "version", OWN),
        ("futian-data1", "nanshan-data1", 8008, "patroni", OWN),
        ("nanshan-kube1", "nanshan-kube1", REGISTRY_PORT, "v2/", OWN),
        (
            "nanshan-kube1", "nanshan-kube1", API_PORT, "api",
            (f"{CLUSTER}/ca.crt", f"{CLUSTER}/admin.crt", f"{CLUSTER}/admin.key"),
        ),
        (
            "nanshan-kube1", "nanshan-kube1", ports.KUBELET, "pods",
            (f"{CLUSTER}/ca.crt", f"{CLUSTER}/apiserver-kubelet.crt", f"{CLUSTER}/apiserver-kubelet.key"),
        ),
    ],
    ids=["etcd client", "etcd peer", "Patroni", "registry", "API server", "kubelet"],
)  # fmt: skip
def test_a_client_with_a_forged_certificate_is_refused(
    asked: Hosts, asker: str, target: str, port: int, path: str, files: tuple[str, ...]
) -> None:
    """All names in the certificate and in its authority are right. Only the signature is not the estate's."""
    url = f"https://{plan(asked.lab.estate).lan(target).ipv4}:{port}/{path}"
    forged, right = asked.run(asker, "sh", "-c", FORGE, "sh", *files, url).split()
    assert forged in ("000", "401")
    assert right == "200"


def test_the_database_refuses_connections_without_tls(asked: Hosts) -> None:
    """The server has no rule for such a connection, so it refuses before it checks the password."""
    output = asked.run(
        "nanshan-data1", "sh", "-c",
        'PGPASSWORD=x PGCONNECT_TIMEOUT=3 psql "host=$1 dbname=approval user=approval_app sslmode=disable"'
        ' -c "select 1" 2>&1',
        "sh", str(plan(asked.lab.estate).lan("futian-data1").ipv4), check=False,
    )  # fmt: skip
    assert "no pg_hba.conf entry" in output or "no encryption" in output, output


ELSEWHERE = {socket.AF_INET: "198.18.77.1", socket.AF_INET6: "2001:2::77"}
"""Addresses of the ranges for benchmarks. They belong to no network, so a router would use its default route."""


def test_connections_that_start_during_neighbour_discovery_stay_at_one_site(asked: Hosts) -> None:
    """Routes use the neighbour address that BFD probes all the time, so the router always knows it.

    With another address, the first packets of a burst would take the next path, to another site. The remaining packets
    would take the right path, to a site that does not know the connection.
    """
    service = plan(asked.lab.estate).anycast["approval"]
    for family, address in ((4, service.ipv4), (6, service.ipv6)):
        for _ in range(3):
            for link in ("ft-bureau", "ns-bureau"):
                asked.run("bureau-edge1", "ip", f"-{family}", "neighbour", "flush", "dev", link)
            until("BFD has resolved its neighbours again", lambda f=family: _reachable(asked, "bureau-edge1", f), 10)
            answers = asked.run("bureau1", "python3", "-c", BURST, str(address), "40")
            assert json.loads(answers) == {"HTTP/1.1 200 OK": 40}, (family, answers)


def _reachable(hosts: Hosts, router: str, family: int) -> bool:
    """Return whether the router knows an address of each neighbour in the cities. Link-local addresses do not count."""
    near = [
        hosts.run(router, "ip", f"-{family}", "neighbour", "show", "dev", link, "nud", "reachable").splitlines()
        for link in ("ft-bureau", "ns-bureau")
    ]
    return all([line for line in lines if not line.startswith("fe80:")] for lines in near)


@pytest.mark.parametrize("host", ["futian-edge1", "nanshan-edge1", "shaoguan-edge1", "internet-edge1"])
def test_no_route_uses_a_link_local_address(asked: Hosts, host: str) -> None:
    """BFD does not probe link-local addresses. Only data traffic would keep their neighbour entries alive."""
    routes = asked.run(host, "ip", "-6", "route", "show", "proto", "bgp")
    assert " via " in routes
    assert "via fe80:" not in routes


@pytest.mark.parametrize("family", ELSEWHERE, ids=lambda family: family.name)
def test_no_packet_to_the_outside_appears_on_the_hosts_own_interfaces(lab: Lab, family: socket.AddressFamily) -> None:
    """Every machine and the operator's namespace try to reach an outside address."""
    address = socket.inet_pton(family, ELSEWHERE[family])
    everywhere = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    with everywhere, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        ping = ["ping", "-c1", "-W1", ELSEWHERE[family]]
        tries = [lab.shell_argv(machine.name, ping) for machine in lab.topology.machines]
        tries.append([*namespace.enter_argv(), *ping])
        pings = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for argv in tries]
        assert all(process.wait(timeout=60) for process in pings)
        control.sendto(b"the end " + address, ("127.0.0.1", 9))  # on the host's loopback: proves that the capture works
        seen: list[bytes] = []
        while not (seen and seen[-1].endswith(b"the end " + address)):
            assert select.select([everywhere], [], [], 10)[0], "the capture sees no packet"
            frame = everywhere.recv(65536)
            if address in frame:
                seen.append(frame)
    assert len(seen) == 1


def test_the_operators_namespace_has_no_default_route(lab: Lab) -> None:
    """So no packet of the lab can leave the machine, in either family."""
    for family in ("-4", "-6"):
        argv = [*namespace.enter_argv(), "ip", family, "route", "show", "default"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == ""
