"""What protects citizens and their data, with the protection put to the test on the running estate."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from estate.addressing import plan
from estate.model import Kind
from lab.api import Lab
from playbooks.render import kubernetes
from tests import scripts
from tests.lab import pods_on_lab
from tests.lab.estate_on_lab import Hosts, resolve, until_well
from tests.waiting import until
from workstation import namespace, paths

pytestmark = pytest.mark.lab

DATA = ("futian-data1", "nanshan-data1", "shaoguan-data1")


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Hosts:
    """For questions only: the machines of an estate that was well before the first of them."""
    until_well(120)
    return Hosts(lab)


@pytest.fixture
def hosts(asked: Hosts) -> Iterator[Hosts]:
    """For what disturbs the estate, which is well before and after."""
    until_well(120)
    yield asked
    until_well(180)


def announced(hosts: Hosts) -> set[str]:
    """Cities from which the internet's router knows a path to the service's own address, in either family."""
    text = hosts.run("internet-edge1", "sh", "-c", "ip route show 203.0.113.0/24; ip -6 route show 2001:db8:113::/48")
    links = {"futian": "ft-inet", "nanshan": "ns-inet", "shaoguan": "sg-inet"}
    return {site for site, link in links.items() if link in text}


@contextmanager
def frozen_patronis(hosts: Hosts) -> Iterator[None]:
    """Every Patroni is stopped in its tracks; PostgreSQL lives on."""
    for host in DATA:
        hosts.run(host, "systemctl", "kill", "--kill-whom=main", "-s", "STOP", "patroni")
    try:
        yield
    finally:
        for host in DATA:
            hosts.run(host, "systemctl", "kill", "--kill-whom=main", "-s", "CONT", "patroni")


PEOPLE = scripts.load(paths.repo() / "services/approval/src/approval/people.py")


def apply(hosts: Hosts, n: int) -> tuple[str, str]:
    """HTTP status and headers of a citizen's application; its key is made of `n`."""
    body = json.dumps({**PEOPLE.applicant(hosts.lab.estate.registers.seed, n), "synthetic": True})
    said = hosts.run(
        "citizen1", "curl", "-sk", "-m", "8", "-o", "/dev/null", "-D", "-", "-w", "%{http_code}",
        "-H", f"Idempotency-Key: {key_of(n)}", "-H", "Content-Type: application/json", "-d", body,
        *resolve(hosts.lab), "https://approval.govcloud/v1/applications", check=False,
    )  # fmt: skip
    headers, _, status = said.rpartition("\n")
    return status, headers.lower()


def key_of(n: int) -> str:
    """A key of this run's own."""
    return str(uuid.uuid5(RUN, str(n)))


RUN = uuid.uuid4()


def test_without_any_patroni_both_cities_stay_announced_reads_answer_and_writes_are_refused(hosts: Hosts) -> None:
    """Announcement follows the ability to answer, never a writable primary. A citizen's decision is still there to be
    read; a new application is refused at once, with when to come back."""
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


def test_a_service_without_pods_withdraws_its_city_and_nothing_else(hosts: Hosts) -> None:
    """The other city answers; the city's other routes stay."""
    before = hosts.run("shaoguan-edge1", "ip", "route", "show", "proto", "bgp")
    with pods_on_lab.none(hosts, "futian-kube1"):
        until("futian is withdrawn", lambda: announced(hosts) == {"nanshan"}, 20)
        until("citizens are answered", lambda: hosts.status_of("/readyz") == "200", 10)
        after = hosts.run("shaoguan-edge1", "ip", "route", "show", "proto", "bgp")
        lost = {line.split()[0] for line in before.splitlines()} - {line.split()[0] for line in after.splitlines()}
        assert {prefix for prefix in lost if not prefix.startswith("203.0.113.")} == set()
    until("futian is announced again", lambda: announced(hosts) == {"futian", "nanshan"}, 30)


TLS_PORTS = (
    ("etcd client", Kind.DATA, 2379),
    ("etcd peer", Kind.DATA, 2380),
    ("Patroni", Kind.DATA, 8008),
    ("ingress", Kind.KUBE, 443),
)


@pytest.mark.parametrize(("what", "kind", "port"), TLS_PORTS, ids=[what for what, _, _ in TLS_PORTS])
def test_plain_text_and_a_foreign_authority_are_refused(asked: Hosts, what: str, kind: Kind, port: int) -> None:
    """On every TLS port: HTTP without TLS gets no answer, and the estate's CA is needed to trust the certificate."""
    estate = asked.lab.estate
    target = estate.hosts_at("nanshan", kind)[0]
    address = plan(estate).lan(target.name).ipv4
    asker = "futian-data1" if kind is Kind.DATA else "citizen1"
    target_name = target.name if kind is Kind.DATA else "approval.govcloud"
    if kind is Kind.KUBE:
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
        ("API server", kubernetes.API_PORT, "api"),
        ("kubelet", kubernetes.KUBELET_PORT, "pods"),
        ("registry", kubernetes.REGISTRY_PORT, "v2/"),
    ],
)
def test_a_cluster_refuses_plain_text_and_whoever_is_nobody(asked: Hosts, what: str, port: int, path: str) -> None:
    """From the node itself, which no firewall stands before: without a certificate of the right authority, nothing."""
    node = "nanshan-kube1"
    address = plan(asked.lab.estate).lan(node).ipv4
    curl = ["curl", "-s", "-k", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}"]
    plain = asked.run(node, *curl, f"http://{address}:{port}/{path}", check=False)
    assert plain in ("000", "400"), plain
    nobody = asked.run(node, *curl, f"https://{address}:{port}/{path}", check=False)
    assert nobody in ("000", "401"), nobody
    untrusted = asked.run(node, "sh", "-c", 'curl -s -m 3 "$1"; echo "exit $?"', "sh", f"https://{address}:{port}/")
    assert untrusted.strip().endswith("exit 60"), untrusted


def test_the_database_takes_no_connection_without_tls(asked: Hosts) -> None:
    """Also not with a right password: the server has no rule that admits it."""
    said = asked.run(
        "nanshan-data1", "sh", "-c",
        'PGPASSWORD=x PGCONNECT_TIMEOUT=3 psql "host=$1 dbname=approval user=approval_app sslmode=disable"'
        ' -c "select 1" 2>&1',
        "sh", str(plan(asked.lab.estate).lan("futian-data1").ipv4), check=False,
    )  # fmt: skip
    assert "no pg_hba.conf entry" in said or "no encryption" in said, said


def test_nothing_can_leave_the_machine(lab: Lab) -> None:
    """The operator's namespace has no default route in either family."""
    for family in ("-4", "-6"):
        argv = [*namespace.enter_argv(), "ip", family, "route", "show", "default"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == ""
