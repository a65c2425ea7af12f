"""A bureau's gateway on a real API server: it keeps its namespace's rules, and a new certificate rolls it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pulumi
import pulumi_kubernetes as k8s
import pytest

from estate.loader import load
from estate.model import Cluster, Estate
from playbooks.render import gateway
from stacks.components.gateway import Gateway, GatewayArgs, Route, gateway_of
from stacks.components.tenancy import tenancies
from tests.integration.kubernetes.conftest import Declare, EngineSession, open_session
from tests.polling import until
from tests.unit.playbooks.clusters import with_gateway
from tools.envtest import ControlPlane

CLUSTER = Cluster(site="futian", version="1.37.2")
IMAGE = "registry.govcloud/haproxy@sha256:" + "0" * 64
ADDRESS = "10.96.0.78"
INGRESS = ("10.64.1.11", "10.129.11.1")
ESTATE = with_gateway(load())
BUREAU = ESTATE.bureau("planning")
NAME = BUREAU.gateway_name
KEY = "hunter2hunter2"


@pytest.fixture(scope="module")
def city(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSession]:
    """Yield a session in the bureau's namespace. It cleans up the cluster, because other tests use its quotas."""
    with open_session(cluster, tmp_path_factory.mktemp("city") / "home", BUREAU.name) as session:
        yield session
        gone = session.destroy()
        assert not gone.failed, gone.errors


def unawaited(made: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    """Do not wait for readiness: there are no nodes, so no pod becomes ready."""
    if made.type_.endswith((":Deployment", ":Service")):
        annotations = {"pulumi.com/skipAwait": "true", **made.props["metadata"].get("annotations", {})}
        made.props["metadata"] = {**made.props["metadata"], "annotations": annotations}
    return pulumi.ResourceTransformationResult(made.props, made.opts)


def declared(certificate: str, estate: Estate = ESTATE) -> Declare:
    """Declare it as the stack `platform` does for one site."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        tenancy = tenancies(estate, CLUSTER, opts)[BUREAU.name]
        own = pulumi.ResourceOptions(depends_on=[tenancy], transformations=[unawaited])
        bundle = pulumi.Output.secret(f"{certificate}\n{KEY}\n")
        inside = pulumi.ResourceOptions.merge(opts, own)
        gateway_of(BUREAU, image=IMAGE, bundle=bundle, cluster_ips=(ADDRESS,), ingress=INGRESS, opts=inside)

    return declare


def leading_to(name: str, port: int) -> Declare:
    """Declare a gateway in front of an existing Service."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        service = k8s.core.v1.Service.get(name, f"{BUREAU.name}/{name}", opts=opts)
        route = Route(host="records.planning.govcloud", service=service, port=port)
        args = GatewayArgs(namespace=BUREAU.name, image=IMAGE, routes=(route,), bundle=pulumi.Output.secret(KEY))
        Gateway("other", args, opts)

    return declare


def value_at(session: EngineSession, kind: str, name: str, path: str) -> str:
    """Return one value of an object."""
    return session.kubectl("get", kind, name, "-o", f"jsonpath={{{path}}}")


def pods_of(session: EngineSession) -> list[str]:
    """Return the gateway's pods that the API server has accepted."""
    return session.kubectl("get", "pods", "-l", f"app.kubernetes.io/name={NAME}", "-o", "name").split()


def test_a_gateway_keeps_its_bureaus_rules_and_a_new_certificate_rolls_it(city: EngineSession) -> None:
    """Its key is in no state. Its routes use the addresses that the cluster assigned."""
    files = ".spec.template.spec.volumes[0].configMap.name"
    key = ".spec.template.spec.volumes[1].secret.secretName"
    made = city.up(declared("first"))
    assert not made.failed, made.errors
    until("two pods were let in", lambda: len(pods_of(city)) == 2, 60)
    assert KEY not in city.checkpoint()
    assert value_at(city, "service", NAME, ".spec.clusterIP") == ADDRESS
    assert value_at(city, "service", NAME, ".spec.ports[*].port") == "443 8444 8405"
    config = json.loads(city.kubectl("get", "configmap", value_at(city, "deployment", NAME, files), "-o", "json"))[
        "data"
    ]["etc__haproxy__haproxy.cfg"]
    assert f"!{{ src {' '.join(INGRESS)} }}\n" in config
    for pods, port in (("records", 8080), ("maps", 9000)):
        name = f"gateway-to-{pods}-{port}"
        assert f"server {name} {value_at(city, 'service', name, '.spec.clusterIP')}:{port}\n" in config
    before = value_at(city, "deployment", NAME, key)
    again = city.up(declared("first"))
    assert set(again.changed) == {"same"}, (again.diffs, again.errors)
    assert value_at(city, "deployment", NAME, key) == before
    renewed = city.up(declared("second"))
    assert (renewed.changed.get("update"), renewed.changed.get("replace")) == (1, 1), (renewed.diffs, renewed.errors)
    assert value_at(city, "deployment", NAME, key) != before
    assert city.drift() == {}


@pytest.mark.nightly
def test_a_route_to_a_missing_service_or_port_is_reported(city: EngineSession) -> None:
    """The rest of the run is not affected, and the next run continues."""
    assert not city.up(declared("second")).failed
    missing = city.up(leading_to("tea", 80))
    assert any("leads to a Service that does not exist" in error for error in missing.errors), missing.errors
    offered = city.up(leading_to("gateway-to-maps-9000", 80))
    assert any("has no port 80 (its ports: 9000); correct the route" in error for error in offered.errors), (
        offered.errors
    )
    assert not any("Traceback" in error for error in offered.errors)
    assert not city.up(declared("second")).failed
    assert gateway.CONFIG_FILE in value_at(city, "deployment", NAME, ".spec.template.spec.containers[0].command")
