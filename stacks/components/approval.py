"""The approval service at one site: its pods, in its bureau's namespace, behind a fixed address.

HAProxy on the site's nodes forwards citizens' requests to that address. It also asks the service whether it can serve
requests, and the edge announces the site according to this answer. So a pod counts as ready as soon as it answers at
all. If no database is reachable, the page still works: the site is withdrawn, and its pods stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from estate.addressing import AddressPlan
from estate.model import Estate
from playbooks.render import approval
from playbooks.render.pki import AUTHORITY_FILE
from playbooks.secrets import Secrets
from stacks.components.child_options import child_options
from stacks.components.tenancy import PROMISED
from stacks.components.workload import Probe, Resources, ServiceSpec, Workload, WorkloadArgs

READY = Probe(path="/healthz", period_s=1, timeout_s=2, failures=3)
ALIVE = Probe(path="/healthz", period_s=5, timeout_s=5, failures=6)
"""Slow on purpose: a restart does not help a pod that lacks processor time."""
STARTED = Probe(path="/healthz", period_s=1, timeout_s=2, failures=60)


@dataclass(frozen=True, kw_only=True)
class ApprovalArgs:
    """The service in the cluster of `site`. `image` is a reference with a digest."""

    estate: Estate
    plan: AddressPlan
    site: str
    image: str
    secrets: pulumi.Output[Secrets]


class Approval(pulumi.ComponentResource):
    """The approval service's workload.

    `opts` must name the provider of the site's cluster and wait for the bureau's tenancy.
    """

    workload: Workload

    def __init__(self, name: str, args: ApprovalArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Approval", name, None, opts)
        self.workload = Workload(approval.SERVICE, workload_args(args), child_options(self, opts)())
        self.register_outputs({})


def workload_args(args: ApprovalArgs) -> WorkloadArgs:
    """Return the arguments of the service's workload at the site."""
    service = args.estate.service(approval.SERVICE)
    wanted = service.pods
    address = args.plan.service_cluster_ip(args.site, approval.SERVICE)
    password = args.secrets.apply(lambda values: values.passwords.approval_app)
    return WorkloadArgs(
        namespace=service.bureau,
        image=args.image,
        replicas=wanted.replicas[args.site],
        resources=Resources(cpu_millis=round(wanted.cpus * 1000), memory_mib=wanted.memory_mib),
        port=approval.PORT,
        ready=READY,
        alive=ALIVE,
        started=STARTED,
        environment=approval.pod_environment(args.estate, args.site),
        fields=approval.FIELDS,
        secrets={approval.PASSWORD: pulumi.Output.secret(password)},
        # A certificate is not secret, so a plan may show it.
        files={AUTHORITY_FILE: pulumi.Output.unsecret(args.secrets.apply(lambda values: values.authority))},
        priority_class=PROMISED,
        service=ServiceSpec(port=approval.PORT, cluster_ips=(str(address.ipv4), str(address.ipv6))),
    )
