"""A bureau gets a gateway by an entry in the estate, and loses it with the entry; asked from its cluster and from the
citizens' side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from estate.addressing import plan
from estate.model import Estate
from lab.api import Lab
from playbooks.render.pki import AUTHORITY_FILE
from tests.lab import pods_on_lab as pods
from tests.lab.estate_on_lab import Hosts, govcloud, until_well
from tests.onboarding import BUREAU, with_the_entry, write_the_entry
from tests.polling import until
from workstation import paths

pytestmark = [pytest.mark.lab, pytest.mark.nightly]

BACK_S = 60
CITY = "futian"
CLUSTERS_AUTHORITY = "/etc/kubernetes/pki/ca.crt"
"""Of the cluster's own certificates; no citizen is shown one of those."""
UNTRUSTED = "60"
"""How curl ends where it does not trust the certificate."""


@pytest.fixture
def declared(deployed: Hosts, tmp_path: Path) -> Estate:
    """The estate with the gateway. It is deployed, by a clone that has the entry, if no test has done that before."""
    estate = with_the_entry(deployed.lab.estate)
    gateway = estate.bureau(BUREAU).gateway_name
    if f"deployment.apps/{gateway}" not in deployments(deployed):
        clone = tmp_path / "clone"
        subprocess.run(["git", "clone", "-q", str(paths.repo()), str(clone)], check=True)
        write_the_entry(clone)
        subprocess.run([str(clone / "govcloud"), "up"], check=True, timeout=900)
    return estate


def deployments(hosts: Hosts) -> list[str]:
    """Of the bureau, in the city."""
    return pods.kubectl(hosts, f"{CITY}-kube1", "get", "deployments", f"--namespace={BUREAU}", "--output=name").split()


@pytest.fixture
def hosts(declared: Estate) -> Iterator[Hosts]:
    """Commands on the machines of an estate that is well before and after."""
    until_well(120)
    found = Hosts(Lab(declared))
    until(f"the pods of {CITY} run", lambda: pods.all_run(found, f"{CITY}-kube1"), BACK_S)
    yield found
    until_well(180)


def ask(hosts: Hosts, host: str, address: str, *options: str) -> tuple[str, str]:
    """How curl ends on a machine and the status that it gets from the gateway at an address."""
    bureau = hosts.lab.estate.bureau(BUREAU)
    assert bureau.gateway
    name = next(iter(bureau.gateway.hosts))
    said = hosts.run(
        host, "sh", "-c", '"$@"; echo " $?"', "sh",
        "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", *options,
        "--resolve", f"{name}:443:{address}", f"https://{name}/healthz",
    )  # fmt: skip
    status, ended = said.split()
    return ended, status


def from_its_node(hosts: Hosts, site: str, authority: str, name: str = "") -> tuple[str, str]:
    """At the gateway's own address in the site's cluster."""
    address = plan(hosts.lab.estate).clusters[site].gateways[BUREAU].ipv4
    named = ("-H", f"Host: {name}") if name else ()
    return ask(hosts, f"{site}-kube1", str(address), "--cacert", authority, *named)


def citizen(hosts: Hosts, family: int) -> tuple[str, str]:
    """From the internet, at the address that all sites announce."""
    address = plan(hosts.lab.estate).gateways[BUREAU]
    return ask(hosts, "citizen1", str(address.ipv4 if family == 4 else f"[{address.ipv6}]"), "-k")


@pytest.mark.parametrize("site", ["futian", "nanshan", "shaoguan"])
def test_it_answers_at_every_site_with_the_estates_certificate_and_for_its_own_names(hosts: Hosts, site: str) -> None:
    """It is not believed under another authority than the estate's, and another name is told that nothing is there."""
    until("the gateway leads on", lambda: from_its_node(hosts, site, AUTHORITY_FILE) == ("0", "200"), BACK_S)
    assert from_its_node(hosts, site, CLUSTERS_AUTHORITY) == (UNTRUSTED, "000")
    assert from_its_node(hosts, site, AUTHORITY_FILE, "tea.govcloud") == ("0", "404")


@pytest.mark.parametrize("family", [4, 6])
def test_a_citizen_reaches_it_at_its_own_address(hosts: Hosts, family: int) -> None:
    until("the gateway answers", lambda: citizen(hosts, family) == ("0", "200"), BACK_S)


def test_pods_that_are_replaced_cost_no_request(hosts: Hosts) -> None:
    """While they roll, as for another certificate, each request that asks once is answered."""
    node, gateway = f"{CITY}-kube1", hosts.lab.estate.bureau(BUREAU).gateway_name
    pods.kubectl(hosts, node, "rollout", "restart", f"deployment/{gateway}", f"--namespace={BUREAU}")
    status = ("rollout", "status", f"deployment/{gateway}", f"--namespace={BUREAU}", "--watch=false")
    answers = []

    def replaced() -> bool:
        answers.append(from_its_node(hosts, CITY, AUTHORITY_FILE))
        answers.append(citizen(hosts, 4))
        return "successfully rolled out" in pods.kubectl(hosts, node, *status)

    until("the gateway's pods are others", replaced, 2 * BACK_S)
    assert set(answers) == {("0", "200")}, answers


def announced(hosts: Hosts) -> set[str]:
    """What the city's edge announces: its own kernel routes."""
    found = hosts.run(f"{CITY}-edge1", "ip", "-j", "route", "show", "proto", "99")
    return {route["dst"] for route in json.loads(found)}


@contextmanager
def without_gateway(hosts: Hosts) -> Iterator[None]:
    """The city's gateway has no pods."""
    deployment = f"deployment/{hosts.lab.estate.bureau(BUREAU).gateway_name}"

    def scale(count: int) -> None:
        pods.kubectl(hosts, f"{CITY}-kube1", "scale", f"--replicas={count}", deployment, f"--namespace={BUREAU}")

    scale(0)
    try:
        yield
    finally:
        scale(2)


def test_a_city_without_its_pods_withdraws_it_and_nothing_else(hosts: Hosts) -> None:
    """The other city answers for it, and the services of all citizens stay where they are."""
    addresses = plan(hosts.lab.estate)
    gateway, service = str(addresses.gateways[BUREAU].ipv4), str(addresses.anycast[pods.SERVICE].ipv4)
    until("the city announces it", lambda: gateway in announced(hosts), BACK_S)
    with without_gateway(hosts):
        until("the city withdraws it", lambda: gateway not in announced(hosts), BACK_S)
        assert service in announced(hosts)
        until("another site answers", lambda: citizen(hosts, 4) == citizen(hosts, 6) == ("0", "200"), BACK_S)
        assert hosts.status_of("/readyz") == "200"
    until("the city announces it again", lambda: gateway in announced(hosts), BACK_S)


def test_with_its_entry_it_goes_and_nothing_else(hosts: Hosts) -> None:
    """An estate without the entry is deployed: this checkout's own."""
    addresses = plan(hosts.lab.estate)
    gateway, service = str(addresses.gateways[BUREAU].ipv4), str(addresses.anycast[pods.SERVICE].ipv4)
    done = govcloud("up", "--json")
    assert done.code == 0, done.stderr
    assert deployments(hosts) == [f"deployment.apps/{pods.SERVICE}"]
    assert announced(hosts) & {gateway, service} == {service}
    assert citizen(hosts, 4)[1] == citizen(hosts, 6)[1] == "000"
    assert govcloud("drift", "--json").code == 0
