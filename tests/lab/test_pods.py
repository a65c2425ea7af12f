"""Ends pods of the service in several ways while citizens apply. No request may fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import pods_on_lab as pods
from tests.lab.citizens_on_lab import applying
from tests.lab.estate_on_lab import Hosts, until_well
from tests.polling import until

pytestmark = [pytest.mark.lab, pytest.mark.nightly]

NODES = ("futian-kube1", "nanshan-kube1")
BACK_S = 60
ALONE = "futian"
"""The site that keeps its power while both others are off."""


@pytest.fixture
def hosts(hosts: Hosts) -> Iterator[Hosts]:
    """The machines. The estate has all pods before the test, and no problem before and after it."""
    for node in NODES:
        until(f"the pods of {node} run", lambda at=node: pods.all_run(hosts, at), BACK_S)
    yield hosts
    until_well(180)


def test_killing_a_pod_in_each_city_loses_no_request(hosts: Hosts) -> None:
    """The ingress sends the requests to the other pod, and a new process replaces the killed one."""
    with applying(hosts):
        for node in NODES:
            before = pods.processes(hosts, node)
            pods.signal(hosts, node, "KILL", before[0])
            until(
                f"{node} has restarted the pod",
                lambda at=node, old=before: pods.all_run(hosts, at) and set(pods.processes(hosts, at)) != set(old),
                BACK_S,
            )


def test_replacing_pods_one_by_one_loses_no_request(hosts: Hosts) -> None:
    """Delete each pod, as a new version does. It answers until no client sends it new requests."""
    with applying(hosts):
        for node in NODES:
            first = pods.names(hosts, node)
            for name in first:
                namespace = hosts.lab.estate.service(pods.SERVICE).bureau
                pods.kubectl(hosts, node, "delete", "pod", name, f"--namespace={namespace}", "--wait=true")
                until(f"a new pod replaces {name}", lambda at=node: pods.all_run(hosts, at), BACK_S)
            assert not set(first) & set(pods.names(hosts, node))


def test_rolling_out_the_deployment_in_each_city_loses_no_request(hosts: Hosts) -> None:
    """The Deployment's controller replaces all pods as for a new version, with the estate's own limits."""
    with applying(hosts):
        for node in NODES:
            first = pods.names(hosts, node)
            pods.roll_out(hosts, node)
            until(f"the pods of {node} run", lambda at=node: pods.all_run(hosts, at), BACK_S)
            assert not set(first) & set(pods.names(hosts, node))


@pytest.fixture
def alone(hosts: Hosts) -> Iterator[str]:
    """The node of the only site with power. The two others are powered on afterwards."""
    others = [site.name for site in hosts.lab.estate.sites if site.name != ALONE]
    hosts.lab.power_off(others)
    yield f"{ALONE}-kube1"
    hosts.lab.power_on(others, wait=True)


def test_an_isolated_site_starts_pods_from_its_own_registry(hosts: Hosts, alone: str) -> None:
    """The image is removed from the node too. A pod needs only its own site to start."""
    old = pods.names(hosts, alone)
    pods.forget_image(hosts, alone)
    namespace = hosts.lab.estate.service(pods.SERVICE).bureau
    pods.kubectl(hosts, alone, "delete", "pod", *old, f"--namespace={namespace}", "--wait=true")
    until("new pods run", lambda: pods.all_run(hosts, alone), BACK_S)
    new = pods.names(hosts, alone)
    assert not set(old) & set(new)
    assert pods.pulled(hosts, alone) & set(new)
    until("citizens are answered", lambda: hosts.status_of("/readyz") == "200", BACK_S)
