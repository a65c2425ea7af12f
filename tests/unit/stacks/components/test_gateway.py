"""The objects of a gateway: its configuration from the routes, its key as a secret, and pods that roll with either."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.runtime.rpc import is_rpc_secret

from estate.addressing import plan
from estate.loader import load
from playbooks.render import gateway
from stacks.components.gateway import Gateway, GatewayArgs, Route
from stacks.components.resources import site_of
from stacks.programs import pod_images, workloads
from stacks.programs.context import Context
from stacks.programs.program import program
from tests.unit.playbooks.clusters import secrets_of, switched_on, with_gateway
from tests.unit.stacks.declared import CLUSTER_IP, Recorded, declare
from workstation.errors import GovcloudError
from workstation.oci import OciImage

IMAGE = "registry.govcloud/haproxy@sha256:" + "2" * 64
BUNDLE = "a certificate\nhunter2hunter2\n"


def service(name: str = "records", namespace: str = "planning", **spec: Any) -> k8s.core.v1.Service:
    """A Service as a workload may have it."""
    ports = [{"port": 8080}]
    return k8s.core.v1.Service(name, metadata={"name": name, "namespace": namespace}, spec={"ports": ports, **spec})


def declared(bundle: str = BUNDLE, **route: Any) -> Recorded:
    """A gateway with one route. `route` changes the route, and its key `service` changes the Service."""
    options = route.pop("service", {})

    def declare_gateway() -> None:
        one = Route(**{"host": "records.planning.govcloud", "service": service(**options), "port": 8080, **route})
        args = GatewayArgs(namespace="planning", image=IMAGE, routes=(one,), bundle=pulumi.Output.secret(bundle))
        Gateway("gate", args)

    return declare(declare_gateway, "platform")


def template(recorded: Recorded) -> dict[str, Any]:
    """The pods' template."""
    spec = recorded.inputs("gate-deployment")["spec"]
    return dict((spec["value"] if is_rpc_secret(spec) else spec)["template"])


def test_the_configuration_contains_the_address_of_the_service() -> None:
    text = str(declared().inputs("gate-files")["data"])
    assert "backend records.planning.govcloud" in text
    assert f"server records {CLUSTER_IP}:8080" in text


def test_the_key_is_only_in_the_secret() -> None:
    """It is mounted as a file that the pod's own user may read."""
    recorded = declared()
    assert recorded.is_secret("gate-secrets", "stringData")
    assert "hunter2" in str(recorded.inputs("gate-secrets"))
    others = (str(recorded.inputs(name)) for name in recorded.requests if name != "gate-secrets")
    assert not any("hunter2" in text for text in others)
    pod = template(recorded)["spec"]
    [mount] = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == gateway.BUNDLE_FILE]
    assert mount == {**mount, "name": "secret-files", "subPath": "etc__haproxy__host.pem", "readOnly": True}
    name = recorded.inputs("gate-secrets")["metadata"]["name"]
    assert {"name": "secret-files", "secret": {"secretName": name, "defaultMode": 0o440}} in pod["volumes"]


def test_a_new_certificate_or_a_new_route_rolls_the_pods() -> None:
    """HAProxy reads both only when it starts."""
    cases = (declared(), declared(), declared(bundle="another"), declared(host="maps.planning.govcloud"))
    read = [str(template(recorded)["spec"]["volumes"]) for recorded in cases]
    assert read[0] == read[1]
    assert len(set(read)) == 3


def test_the_pods_need_no_privileges_and_have_a_plain_port_for_probes() -> None:
    """No port below 1024 and no writable folder. Probes use a separate port without TLS."""
    recorded = declared()
    [container] = template(recorded)["spec"]["containers"]
    assert container["ports"][0]["containerPort"] == gateway.PORT >= 1024
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": gateway.OBSERVED_PORT}
    assert all(mount["mountPath"].startswith("/etc/haproxy/") for mount in container["volumeMounts"])
    assert recorded.inputs("gate-service")["spec"]["ports"][0]["port"] == 443
    assert recorded.inputs("gate-budget")["spec"]["minAvailable"] == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"port": 9000},
            (
                r"records.planning.govcloud leads to the Service planning/records, "
                r"which has no port 9000 \(its ports: 8080\)"
            ),
        ),
        ({"service": {"namespace": "housing"}}, "outside the gateway's namespace planning"),
        ({"service": {"clusterIP": "None"}}, "no address of its own"),
    ],
)
def test_a_route_without_a_usable_service_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(pulumi.RunError, match=words):
        declared(**wrong)


def test_hosts_are_checked_before_anything_is_declared() -> None:
    with pytest.raises(ValueError, match="is no host name"):
        declared(host="Records")


ESTATE = with_gateway(switched_on(load()))
IMAGES = {
    name: OciImage(name=name, folder=Path("/nowhere"), digest="sha256:" + "3" * 64)
    for name in pod_images.needed(ESTATE)
}
CONTEXT = Context(
    estate=ESTATE,
    plan=plan(ESTATE),
    instance="lab-1",
    images=IMAGES,
    clusters=frozenset(site.name for site in ESTATE.sites),
)


def test_a_bureau_with_a_gateway_has_it_in_its_namespace_at_every_site() -> None:
    """The gateway has its fixed address, and one Service for each workload, which no resource waits for."""
    recorded = declare(lambda: workloads.declare(CONTEXT, pulumi.Output.secret(secrets_of(ESTATE))), "platform")
    for name in ("planning-gateway-deployment", "planning-gateway-service", "planning-gateway-maps-9000"):
        sites = [site_of(urn) for urn in recorded.by_urn if urn.endswith(f"::{name}")]
        assert sorted(sites) == sorted(site.name for site in ESTATE.sites)
        assert recorded.inputs(name)["metadata"]["namespace"] == "planning"
    behind = recorded.inputs("planning-gateway-maps-9000")
    assert behind["spec"]["selector"] == {"app.kubernetes.io/name": "maps"}
    assert behind["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    fixed = {str(cluster.gateways["planning"].ipv4) for cluster in CONTEXT.plan.clusters.values()}
    fronts = [one for urn, one in recorded.by_urn.items() if urn.endswith("::planning-gateway-service")]
    assert {one.object["spec"]["clusterIP"] for one in fronts} == fixed
    assert {name.rsplit("-", 1)[0] for name in recorded.depends_on("planning-gateway-maps-9000")} >= {"image"}


def test_haproxys_image_is_built_only_if_a_gateway_needs_it() -> None:
    assert pod_images.needed(load()) == ("approval",)
    assert pod_images.needed(ESTATE) == ("approval", "haproxy")
    only = {"approval": IMAGES["approval"]}
    with pytest.raises(GovcloudError, match="no image of haproxy yet"):
        program(replace(CONTEXT, images=only), "platform")
