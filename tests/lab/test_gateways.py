"""An entry in the estate gives a bureau a gateway, and removing the entry removes the gateway.

The tests send requests from inside the cluster and from a citizen's machine.
"""

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
"""The authority of the cluster's own certificates. Citizens never see these certificates."""
UNTRUSTED = "60"
"""curl's exit code if it does not trust the certificate."""


@pytest.fixture
def declared(deployed: Hosts, tmp_path: Path) -> Estate:
    """The estate with the gateway. A clone with the entry deploys it if no earlier test did."""
    estate = with_the_entry(deployed.lab.estate)
    gateway = estate.bureau(BUREAU).gateway_name
    if f"deployment.apps/{gateway}" not in deployments(deployed):
        clone = tmp_path / "clone"
        subprocess.run(["git", "clone", "-q", str(paths.repo()), str(clone)], check=True)
        write_the_entry(clone)
        subprocess.run([str(clone / "govcloud"), "up"], check=True, timeout=900)
    return estate


def deployments(hosts: Hosts) -> list[str]:
    """Return the names of the bureau's Deployments in the city."""
    return pods.kubectl(hosts, f"{CITY}-kube1", "get", "deployments", f"--namespace={BUREAU}", "--output=name").split()


@pytest.fixture
def hosts(declared: Estate) -> Iterator[Hosts]:
    """Commands on the machines. The estate has no problem before and after the test."""
    until_well(120)
    found = Hosts(Lab(declared))
    until(f"the pods of {CITY} run", lambda: pods.all_run(found, f"{CITY}-kube1"), BACK_S)
    yield found
    until_well(180)


def ask(hosts: Hosts, host: str, address: str, *options: str) -> tuple[str, str]:
    """Ask the gateway at an address from a machine. Return curl's exit code and the HTTP status."""
    bureau = hosts.lab.estate.bureau(BUREAU)
    assert bureau.gateway
    name = next(iter(bureau.gateway.hosts))
    output = hosts.run(
        host, "sh", "-c", '"$@"; echo " $?"', "sh",
        "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", *options,
        "--resolve", f"{name}:443:{address}", f"https://{name}/healthz",
    )  # fmt: skip
    status, exit_code = output.split()
    return exit_code, status


def from_its_node(hosts: Hosts, site: str, authority: str, name: str = "") -> tuple[str, str]:
    """Ask the gateway's own address in the site's cluster, from the site's node."""
    address = plan(hosts.lab.estate).clusters[site].gateways[BUREAU].ipv4
    named = ("-H", f"Host: {name}") if name else ()
    return ask(hosts, f"{site}-kube1", str(address), "--cacert", authority, *named)


def citizen(hosts: Hosts, family: int) -> tuple[str, str]:
    """Ask from the internet, at the address that all sites announce."""
    address = plan(hosts.lab.estate).gateways[BUREAU]
    return ask(hosts, "citizen1", str(address.ipv4 if family == 4 else f"[{address.ipv6}]"), "-k")


@pytest.mark.parametrize("site", ["futian", "nanshan", "shaoguan"])
def test_the_gateway_answers_at_every_site_with_the_estates_certificate_for_its_own_names(
    hosts: Hosts, site: str
) -> None:
    """A client that trusts only another authority refuses its certificate. Requests for another name get 404."""
    until("the gateway forwards requests", lambda: from_its_node(hosts, site, AUTHORITY_FILE) == ("0", "200"), BACK_S)
    assert from_its_node(hosts, site, CLUSTERS_AUTHORITY) == (UNTRUSTED, "000")
    assert from_its_node(hosts, site, AUTHORITY_FILE, "tea.govcloud") == ("0", "404")


@pytest.mark.parametrize("family", [4, 6])
def test_a_citizen_reaches_the_gateway_at_its_own_address(hosts: Hosts, family: int) -> None:
    until("the gateway answers", lambda: citizen(hosts, family) == ("0", "200"), BACK_S)


def test_replacing_the_gateways_pods_loses_no_request(hosts: Hosts) -> None:
    """During a rolling restart, as for a new certificate, each request is answered at its only attempt."""
    node, gateway = f"{CITY}-kube1", hosts.lab.estate.bureau(BUREAU).gateway_name
    pods.kubectl(hosts, node, "rollout", "restart", f"deployment/{gateway}", f"--namespace={BUREAU}")
    status = ("rollout", "status", f"deployment/{gateway}", f"--namespace={BUREAU}", "--watch=false")
    answers = []

    def replaced() -> bool:
        answers.append(from_its_node(hosts, CITY, AUTHORITY_FILE))
        answers.append(citizen(hosts, 4))
        return "successfully rolled out" in pods.kubectl(hosts, node, *status)

    until("the gateway's pods are replaced", replaced, 2 * BACK_S)
    assert set(answers) == {("0", "200")}, answers


def announced(hosts: Hosts) -> set[str]:
    """Return the prefixes that the city's edge announces: its own kernel routes."""
    found = hosts.run(f"{CITY}-edge1", "ip", "-j", "route", "show", "proto", "99")
    return {route["dst"] for route in json.loads(found)}


@contextmanager
def without_gateway(hosts: Hosts) -> Iterator[None]:
    """Scale the city's gateway to no pods, and back at the end of the block."""
    deployment = f"deployment/{hosts.lab.estate.bureau(BUREAU).gateway_name}"

    def scale(count: int) -> None:
        pods.kubectl(hosts, f"{CITY}-kube1", "scale", f"--replicas={count}", deployment, f"--namespace={BUREAU}")

    scale(0)
    try:
        yield
    finally:
        scale(2)


def test_a_city_without_gateway_pods_withdraws_only_the_gateways_address(hosts: Hosts) -> None:
    """Another site answers for the gateway. The city still announces the citizens' service."""
    addresses = plan(hosts.lab.estate)
    gateway, service = str(addresses.gateways[BUREAU].ipv4), str(addresses.anycast[pods.SERVICE].ipv4)
    until("the city announces the gateway", lambda: gateway in announced(hosts), BACK_S)
    with without_gateway(hosts):
        until("the city withdraws the gateway", lambda: gateway not in announced(hosts), BACK_S)
        assert service in announced(hosts)
        until("another site answers", lambda: citizen(hosts, 4) == citizen(hosts, 6) == ("0", "200"), BACK_S)
        assert hosts.status_of("/readyz") == "200"
    until("the city announces the gateway again", lambda: gateway in announced(hosts), BACK_S)


def test_removing_the_entry_removes_only_the_gateway(hosts: Hosts) -> None:
    """Deploy this checkout's own estate, which does not have the entry."""
    addresses = plan(hosts.lab.estate)
    gateway, service = str(addresses.gateways[BUREAU].ipv4), str(addresses.anycast[pods.SERVICE].ipv4)
    done = govcloud("up", "--json")
    assert done.code == 0, done.stderr
    assert deployments(hosts) == [f"deployment.apps/{pods.SERVICE}"]
    assert announced(hosts) & {gateway, service} == {service}
    assert citizen(hosts, 4)[1] == citizen(hosts, 6)[1] == "000"
    assert govcloud("drift", "--json").code == 0
