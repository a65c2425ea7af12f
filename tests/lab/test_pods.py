"""Pods of the service end in several ways while citizens apply, and no request fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import pods_on_lab as pods
from tests.lab.citizens_on_lab import applying
from tests.lab.estate_on_lab import Hosts, until_well
from tests.polling import until

pytestmark = pytest.mark.lab

NODES = ("futian-kube1", "nanshan-kube1")
BACK_S = 60
ALONE = "futian"
"""The site that is left when both others have no power."""


@pytest.fixture
def hosts(hosts: Hosts) -> Iterator[Hosts]:
    """The machines of an estate that is well before and after, with all of its pods."""
    for node in NODES:
        until(f"the pods of {node} run", lambda at=node: pods.all_run(hosts, at), BACK_S)
    yield hosts
    until_well(180)


def test_a_pod_that_is_killed_in_each_city_costs_no_request(hosts: Hosts) -> None:
    """Whichever the requests come to: the ingress asks the other pod, and a new one takes its place."""
    with applying(hosts):
        for node in NODES:
            before = pods.processes(hosts, node)
            pods.signal(hosts, node, "KILL", before[0])
            until(
                f"{node} has started it again",
                lambda at=node, old=before: pods.all_run(hosts, at) and set(pods.processes(hosts, at)) != set(old),
                BACK_S,
            )


def test_pods_that_are_replaced_one_by_one_cost_no_request(hosts: Hosts) -> None:
    """Each is told to end, as in a change of the version: it answers until nobody sends it anything new."""
    with applying(hosts):
        for node in NODES:
            first = pods.names(hosts, node)
            for name in first:
                namespace = hosts.lab.estate.service(pods.SERVICE).bureau
                pods.kubectl(hosts, node, "delete", "pod", name, f"--namespace={namespace}", "--wait=true")
                until(f"another runs for {name}", lambda at=node: pods.all_run(hosts, at), BACK_S)
            assert not set(first) & set(pods.names(hosts, node))


@pytest.mark.nightly
def test_a_deployment_that_is_rolled_out_in_each_city_costs_no_request(hosts: Hosts) -> None:
    """As a new version is: the Deployment's own controller replaces all pods, by the estate's bounds and no test's."""
    with applying(hosts):
        for node in NODES:
            first = pods.names(hosts, node)
            pods.roll_out(hosts, node)
            until(f"the pods of {node} run", lambda at=node: pods.all_run(hosts, at), BACK_S)
            assert not set(first) & set(pods.names(hosts, node))


@pytest.fixture
def alone(hosts: Hosts) -> Iterator[str]:
    """The node of a site without the two others; they have power afterwards."""
    others = [site.name for site in hosts.lab.estate.sites if site.name != ALONE]
    hosts.lab.power_off(others)
    yield f"{ALONE}-kube1"
    hosts.lab.power_on(others, wait=True)


@pytest.mark.nightly
def test_a_site_on_its_own_starts_its_pods_from_its_own_registry(hosts: Hosts, alone: str) -> None:
    """The node has not even the image any more: all that a pod needs to start is at its site."""
    old = pods.names(hosts, alone)
    pods.forget_image(hosts, alone)
    namespace = hosts.lab.estate.service(pods.SERVICE).bureau
    pods.kubectl(hosts, alone, "delete", "pod", *old, f"--namespace={namespace}", "--wait=true")
    until("new pods run", lambda: pods.all_run(hosts, alone), BACK_S)
    new = pods.names(hosts, alone)
    assert not set(old) & set(new)
    assert pods.pulled(hosts, alone) & set(new)
    until("citizens are answered", lambda: hosts.status_of("/readyz") == "200", BACK_S)
