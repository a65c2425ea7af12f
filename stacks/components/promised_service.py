"""A service at one site: its pods, in its bureau's namespace, behind a fixed address.

HAProxy on the site's nodes forwards citizens' requests to that address. It also asks the service whether it can serve
requests, and the edge announces the site according to this answer. So a pod counts as ready as soon as it answers at
all. If no database is reachable, the page still works: the site is withdrawn, and its pods stay.
"""

from __future__ import annotations

import pulumi

from estate.addressing import AddressPlan
from estate.model import Estate, Service
from playbooks.render import services
from playbooks.render.pki import AUTHORITY_FILE
from playbooks.secrets import Secrets
from stacks.components.child_options import child_options
from stacks.components.tenancy import PROMISED
from stacks.components.workload import Probe, Resources, ServiceSpec, Workload, WorkloadArgs


class PromisedService(pulumi.ComponentResource):
    """The service's workload.

    `opts` must name the provider of the site's cluster and wait for the bureau's tenancy.
    """

    workload: Workload

    def __init__(self, name: str, args: WorkloadArgs, opts: pulumi.ResourceOptions) -> None:
        # The type is a part of all URNs below it. It has the service's name since the platform had one service.
        super().__init__(f"govcloud:stacks:{name.capitalize()}", name, None, opts)
        self.workload = Workload(name, args, child_options(self, opts)())
        self.register_outputs({})


def workload_args(
    estate: Estate, plan: AddressPlan, service: Service, site: str, image: str, secrets: pulumi.Output[Secrets]
) -> WorkloadArgs:
    """Return the arguments of the service's workload at the site. `image` is a reference with a digest."""
    contract, wanted = service.contract, service.pods
    live, address = contract.health.live, plan.service_cluster_ip(site, service.name)
    variables = services.pod_secret_names(contract)
    return WorkloadArgs(
        namespace=service.bureau,
        image=image,
        replicas=wanted.replicas[site],
        resources=Resources(cpu_millis=round(wanted.cpus * 1000), memory_mib=wanted.memory_mib),
        port=contract.port,
        ready=Probe(path=live, period_s=1, timeout_s=2, failures=3),
        # Slow on purpose: a restart does not help a pod that lacks processor time.
        alive=Probe(path=live, period_s=5, timeout_s=5, failures=6),
        started=Probe(path=live, period_s=1, timeout_s=2, failures=60),
        environment=services.pod_environment(estate, service, site),
        fields=services.pod_fields(contract),
        secrets={variable: _secret(secrets, name) for variable, name in variables.items()},
        # A certificate is not secret, so a plan may show it.
        files={AUTHORITY_FILE: pulumi.Output.unsecret(secrets.apply(lambda values: values.authority))},
        priority_class=PROMISED,
        service=ServiceSpec(port=contract.port, cluster_ips=(str(address.ipv4), str(address.ipv6))),
    )


def _secret(secrets: pulumi.Output[Secrets], name: str) -> pulumi.Output[str]:
    return pulumi.Output.secret(secrets.apply(lambda values: values.passwords[name]))
