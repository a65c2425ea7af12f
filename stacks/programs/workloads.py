"""The stack `platform`: the workloads on the sites' Kubernetes clusters.

First, all images are pushed to all sites. Only then do pods start. Sites that already run pods follow one another in
the order of a change to a live estate, so a bad version stops at the first site. A health gate separates two sites,
because pods are ready as soon as they answer at all. The gate checks that the service can read and write. A site is not
changed if it is the last city site that still answers. Excluded sites stay declared, so that their state is kept, and
no resource waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from estate.model import Bureau, Service
from playbooks.render import gateway, pki
from playbooks.render.kubernetes import node as kubernetes_node
from playbooks.render.kubernetes.cluster import REGISTRY_PORT, image_reference
from playbooks.render.kubernetes.kubeconfig import operator_kubeconfig
from playbooks.secrets import OPERATOR
from playbooks.secrets import Secrets as SecretValues
from stacks.components.gateway import gateway_of
from stacks.components.promised_service import PromisedService, workload_args
from stacks.components.resources import SITE, HealthGate, Image, LastSiteGuard
from stacks.components.tenancy import tenancies
from stacks.components.workload import version_of
from stacks.phases import PLATFORM
from stacks.programs.context import Context, address_of, service_guards
from stacks.programs.stack_hosts import stack_hosts


class Site(pulumi.ComponentResource):
    """A site of the platform: the parent of all resources at the site."""

    def __init__(self, site: str) -> None:
        super().__init__(f"{SITE}{site}", site)
        self.register_outputs({})


def declare(context: Context, secrets: pulumi.Output[SecretValues]) -> None:
    """Declare all resources. The context must have an image of every service."""
    sites = {host.at: Site(host.at) for host in stack_hosts(context.estate, PLATFORM)}
    images = {site: _images(context, site, parent, secrets) for site, parent in sites.items()}
    everywhere = [image for one in images.values() for image in one]
    pushed = [image for site, one in images.items() if site not in context.without for image in one]
    managed: list[pulumi.Resource] = []
    before: list[pulumi.Resource] = []
    for site, parent in sites.items():
        # The engine copies excluded resources unchanged from the state, with their dependencies there. So all those
        # dependencies must be declared before the excluded resource.
        waits = [*everywhere, *managed] if site in context.without else [*pushed, *before]
        provider = _provider(context, site, secrets, pulumi.ResourceOptions(parent=parent))
        built = site in context.built
        opts = pulumi.ResourceOptions(parent=parent, providers=[provider], depends_on=waits if built else pushed)
        declared = _services(context, site, secrets, opts)
        if built:
            managed += declared
            before = declared if site not in context.without else before


def _images(context: Context, site: str, parent: pulumi.Resource, secrets: pulumi.Output[SecretValues]) -> list[Image]:
    """Declare all images in the site's own registry. No site needs another site to start a pod."""
    images = pulumi.ComponentResource("govcloud:stacks:Images", "images", None, pulumi.ResourceOptions(parent=parent))
    images.register_outputs({})
    nodes = {host.name: address_of(context, host) for host in context.estate.nodes_at(site)}
    host, address = next(iter(nodes.items()))
    return [
        Image(
            f"image-{image.name}",
            site=site,
            image=image,
            url=f"https://{address}:{REGISTRY_PORT}",
            host=host,
            nodes=nodes,
            identity=secrets.apply(_identity),
            opts=pulumi.ResourceOptions(parent=images),
        )
        for image in context.images.values()
    ]


def _services(
    context: Context, site: str, secrets: pulumi.Output[SecretValues], opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """Declare the bureaus' tenancies and the pods of the services.

    Return the resources that the next site waits for.
    """
    cluster = context.estate.cluster_at(site)
    assert cluster, "only sites with a cluster are declared"
    bureaus = tenancies(context.estate, cluster, opts)
    gateways = [
        _gateway(context, site, bureau, secrets, _after(opts, bureaus[bureau.name]))
        for bureau in context.estate.bureaus
        if bureau.gateway
    ]
    declared = [
        one
        for service in context.estate.services
        if site in service.placement.sites
        for one in _service(context, site, service, bureaus[service.bureau], secrets, opts)
    ]
    return [*bureaus.values(), *declared, *gateways]


def _service(
    context: Context,
    site: str,
    service: Service,
    tenancy: pulumi.Resource,
    secrets: pulumi.Output[SecretValues],
    opts: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """Declare a service between its guard and its gate. Its pods need the bureau's tenancy."""
    image = context.images[service.name]
    reference = image_reference(image.name, image.digest)
    args = workload_args(context.estate, context.plan, service, site, reference, secrets)
    version = version_of(service.name, args)
    guards = _last_site_guards(context, site, service, version, opts)
    pods = PromisedService(service.name, args, _after(opts, tenancy, *guards))
    return [*guards, pods, _health_gate(context, site, service, version, _after(opts, pods))]


def _last_site_guards(
    context: Context, site: str, service: Service, version: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """Declare a guard if the service is active at the site. A site that serves no citizens may always be changed."""
    guard = service_guards(context, service).get(site)
    if not guard:
        return []
    name, own = f"{service.name}-permit", _without_provider(opts)
    return [LastSiteGuard(name, site=site, service=service.name, version=version, guard=guard, opts=own)]


def _health_gate(
    context: Context, site: str, service: Service, version: pulumi.Output[str], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Declare the gate at the site's own ingress. Another site may answer at the service's anycast address."""
    host, health = context.estate.nodes_at(site)[0], service.contract.health
    own = f"http://{context.plan.lan(host.name).ipv4}:{service.contract.monitoring_port}"
    return HealthGate(
        f"{service.name}-gate",
        site=site,
        service=service.name,
        version=version,
        address=address_of(context, host),
        urls=tuple(f"{own}{path}" for path in health.gate),
        opts=_without_provider(opts),
    )


def _without_provider(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """Return the options without the cluster's provider, for a resource of our own provider."""
    return pulumi.ResourceOptions(parent=opts.parent, depends_on=opts.depends_on)


def _gateway(
    context: Context,
    site: str,
    bureau: Bureau,
    secrets: pulumi.Output[SecretValues],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    def bundle(values: SecretValues) -> str:
        own = values.certificates.get(pki.gateway_certificate(bureau.name))
        if own is None:
            raise pulumi.RunError(f"there is no certificate for {bureau.gateway_name} yet: run `./govcloud up data`")
        return own.cert + own.key

    image, address = context.images[gateway.IMAGE], context.plan.clusters[site].gateways[bureau.name]
    return gateway_of(
        bureau,
        image=image_reference(image.name, image.digest),
        bundle=secrets.apply(bundle),
        cluster_ips=(str(address.ipv4), str(address.ipv6)),
        ingress=kubernetes_node.seen_by_pods(context.estate, context.plan, site),
        opts=opts,
    )


def _after(opts: pulumi.ResourceOptions, *first: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[*first]))


def _provider(
    context: Context, site: str, secrets: pulumi.Output[SecretValues], opts: pulumi.ResourceOptions
) -> k8s.Provider:
    def kubeconfig(values: SecretValues) -> Any:
        if pulumi.runtime.is_dry_run() and site not in context.clusters:
            return pulumi.UNKNOWN  # the engine then calls no provider: a plan may run before the cluster exists
        return operator_kubeconfig(context.estate, context.plan, site, values.clusters[site])

    return k8s.Provider(
        "kubernetes",
        kubeconfig=pulumi.Output.secret(secrets.apply(kubeconfig)),
        cluster_identifier=f"{context.instance}/{site}",
        opts=opts,
    )


def _identity(values: SecretValues) -> Mapping[str, str]:
    own = values.certificates[OPERATOR]
    return {"authority": values.authority, "cert": own.cert, "key": own.key}
