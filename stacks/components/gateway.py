"""A bureau's gateway: the entry to its workloads. Its pods, in the bureau's namespace, terminate TLS.

A route leads to a Service, at the address that the cluster assigned to it. For a bureau of the estate, the Services are
declared here, from the bureau's entry. Its people only label their pods. Changes to these pods change nothing here, and
no other deployment waits for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from estate.model import Backend, Bureau
from playbooks.render import gateway
from stacks.components.child_options import child_options
from stacks.components.pods import labels_of
from stacks.components.workload import Probe, Resources, ServiceSpec, Workload, WorkloadArgs

CITIZENS_PORT = 443


@dataclass(frozen=True, kw_only=True)
class Route:
    """Requests for `host` go to a port of a Service in the gateway's own namespace."""

    host: str
    service: k8s.core.v1.Service
    port: int


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """Arguments of a gateway. `bundle` is the certificate of all hosts with its key (PEM, secret). A new bundle rolls
    the pods.

    Raise ValueError for host names that no request can have, and for duplicates.
    """

    namespace: str
    image: str
    """HAProxy's image, with its digest."""
    routes: tuple[Route, ...]
    bundle: pulumi.Input[str]
    replicas: int = 2
    resources: Resources = field(default_factory=lambda: Resources(cpu_millis=100, memory_mib=64))
    cluster_ips: tuple[str, ...] = ()
    """Fixed addresses, if other programs must know them."""
    ingress: tuple[str, ...] = ()
    """Addresses of the nodes, as pods see them, from which the site's ingress forwards connections."""

    def __post_init__(self) -> None:
        gateway.refuse_hosts(route.host for route in self.routes)


class Gateway(pulumi.ComponentResource):
    """The gateway's workload. Its pods are ready when they can terminate TLS, even if no backend answers."""

    workload: Workload

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Gateway", name, None, opts)
        routes = pulumi.Output.all(*(_rendered_route(args.namespace, route) for route in args.routes))
        wanted = WorkloadArgs(
            namespace=args.namespace,
            image=args.image,
            command=gateway.COMMAND,
            replicas=args.replicas,
            resources=args.resources,
            port=gateway.PORT,
            ready=Probe(path=gateway.HEALTH, port=gateway.OBSERVED_PORT, period_s=1, failures=3),
            alive=Probe(path=gateway.HEALTH, port=gateway.OBSERVED_PORT, period_s=5, timeout_s=5, failures=6),
            files={gateway.CONFIG_FILE: routes.apply(lambda found: gateway.config_text(name, found, args.ingress))},
            secret_files={gateway.BUNDLE_FILE: pulumi.Output.secret(args.bundle)},
            writable=(),
            service=ServiceSpec(
                port=CITIZENS_PORT,
                cluster_ips=args.cluster_ips,
                more=(gateway.PROXIED_PORT, gateway.OBSERVED_PORT) if args.ingress else (),
            ),
        )
        self.workload = Workload(name, wanted, child_options(self, opts)())
        self.register_outputs({})


def gateway_of(
    bureau: Bureau,
    *,
    image: str,
    bundle: pulumi.Output[str],
    cluster_ips: tuple[str, ...],
    ingress: tuple[str, ...],
    opts: pulumi.ResourceOptions,
) -> Gateway:
    """Declare the gateway of a bureau as the estate defines it. `opts` name the provider of the cluster."""
    wanted = bureau.gateway
    assert wanted, "the bureau has one"
    services = {backend: _service(bureau, backend, opts) for backend in dict.fromkeys(wanted.hosts.values())}
    args = GatewayArgs(
        namespace=bureau.name,
        image=image,
        routes=tuple(
            Route(host=host, service=services[backend], port=backend.port) for host, backend in wanted.hosts.items()
        ),
        bundle=bundle,
        replicas=wanted.replicas,
        resources=Resources(cpu_millis=round(wanted.cpus * 1000), memory_mib=wanted.memory_mib),
        cluster_ips=cluster_ips,
        ingress=ingress,
    )
    return Gateway(bureau.gateway_name, args, opts)


def _service(bureau: Bureau, backend: Backend, opts: pulumi.ResourceOptions) -> k8s.core.v1.Service:
    """Declare the Service in front of a backend.

    No resource waits for its pods: the bureau may not have deployed them yet.
    """
    name = f"{bureau.gateway_name}-{backend.pods}-{backend.port}"
    return k8s.core.v1.Service(
        name,
        metadata={
            "name": f"gateway-to-{backend.pods}-{backend.port}",
            "namespace": bureau.name,
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={
            "selector": labels_of(backend.pods),
            "ports": [{"port": backend.port, "targetPort": backend.port, "protocol": "TCP"}],
            "ipFamilyPolicy": "PreferDualStack",
        },
        opts=opts,
    )


def _rendered_route(namespace: str, route: Route) -> pulumi.Output[gateway.Route]:
    """Return the route with its Service's address.

    Raise RunError if the Service is missing, is in another namespace, has no address or does not offer the port.
    """

    def found(values: dict[str, Any]) -> gateway.Route:
        metadata, spec = values["metadata"], values["spec"]
        if not metadata:  # the result of `get` for an object that the cluster does not have
            raise pulumi.RunError(f"the route of {route.host} leads to a Service that does not exist; create it first")
        name, ports = metadata["name"], [port["port"] for port in spec.get("ports") or ()]
        target = f"the route of {route.host} leads to the Service {metadata['namespace']}/{name}"
        if metadata["namespace"] != namespace:
            raise pulumi.RunError(
                f"{target}, outside the gateway's namespace {namespace}; name a Service in this namespace"
            )
        if (spec.get("cluster_ip") or "None") == "None":
            raise pulumi.RunError(f"{target}, which has no address of its own; name a Service with a cluster IP")
        if route.port not in ports:
            offered = ", ".join(map(str, ports)) or "none"
            raise pulumi.RunError(f"{target}, which has no port {route.port} (its ports: {offered}); correct the route")
        return gateway.Route(host=route.host, service=name, address=spec["cluster_ip"], port=route.port)

    return pulumi.Output.all(metadata=route.service.metadata, spec=route.service.spec).apply(found)
