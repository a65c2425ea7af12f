"""A service at one site: its pods, in its bureau's namespace, behind a fixed address.

HAProxy on the site's nodes forwards citizens' requests to that address. It also asks the service whether it can serve
requests, and the edge announces the site according to this answer. So a pod counts as ready as soon as it answers at
all. If no database is reachable, the page still works: the site is withdrawn, and its pods stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from estate.addressing import AddressPlan
from estate.model import Estate, Service
from playbooks.render import services
from playbooks.render.pki import AUTHORITY_FILE
from playbooks.secrets import Secrets
from stacks.components.child_options import child_options
from stacks.components.tenancy import PROMISED
from stacks.components.workload import Probe, Resources, ServiceSpec, Workload, WorkloadArgs


@dataclass(frozen=True, kw_only=True)
class PromisedServiceArgs:
    """The service in the cluster of `site`. `image` is a reference with a digest."""

    estate: Estate
    plan: AddressPlan
    service: Service
    site: str
    image: str
    secrets: pulumi.Output[Secrets]


class PromisedService(pulumi.ComponentResource):
    """The service's workload.

    `opts` must name the provider of the site's cluster and wait for the bureau's tenancy.
    """

    workload: Workload

    def __init__(self, name: str, args: PromisedServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # The type is a part of all URNs below it. It has the service's name since the platform had one service.
        super().__init__(f"govcloud:stacks:{name.capitalize()}", name, None, opts)
        self.workload = Workload(name, workload_args(args), child_options(self, opts)())
        self.register_outputs({})


def workload_args(args: PromisedServiceArgs) -> WorkloadArgs:
    """Return the arguments of the service's workload at the site."""
    service, contract = args.service, args.service.contract
    wanted, live = service.pods, contract.health.live
    address = args.plan.service_cluster_ip(args.site, service.name)
    variables = services.pod_secret_names(contract)
    return WorkloadArgs(
        namespace=service.bureau,
        image=args.image,
        replicas=wanted.replicas[args.site],
        resources=Resources(cpu_millis=round(wanted.cpus * 1000), memory_mib=wanted.memory_mib),
        port=contract.port,
        ready=Probe(path=live, period_s=1, timeout_s=2, failures=3),
        # Slow on purpose: a restart does not help a pod that lacks processor time.
        alive=Probe(path=live, period_s=5, timeout_s=5, failures=6),
        started=Probe(path=live, period_s=1, timeout_s=2, failures=60),
        environment=services.pod_environment(args.estate, service, args.site),
        fields=services.pod_fields(contract),
        secrets={variable: _secret(args.secrets, name) for variable, name in variables.items()},
        # A certificate is not secret, so a plan may show it.
        files={AUTHORITY_FILE: pulumi.Output.unsecret(args.secrets.apply(lambda values: values.authority))},
        priority_class=PROMISED,
        service=ServiceSpec(port=contract.port, cluster_ips=(str(address.ipv4), str(address.ipv6))),
    )


def _secret(secrets: pulumi.Output[Secrets], name: str) -> pulumi.Output[str]:
    return pulumi.Output.secret(secrets.apply(lambda values: values.passwords[name]))
