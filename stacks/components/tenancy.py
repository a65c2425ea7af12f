"""A bureau's place on a cluster: a namespace in which its people may do their work and nobody else's.

What is refused is refused by the API server at admission, for the operator's workloads as for the bureau's own:
pods that do not keep to the Pod Security level `restricted`, more than the quota, priorities that are not theirs.
The estate's operators need no entry here: `kubernetes_control_plane` makes them administrators of the whole cluster.

A bureau that leaves the estate loses its rights at once; its namespace, with all that its people put there, stays until
an operator deletes it by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from estate.model import Bureau, Cluster, Estate
from stacks.components.child_options import child_options
from stacks.components.pods import Manifest

EVERYDAY, PROMISED = "everyday", "promised"
"""Priority classes: what pods have that name none, and what the services have that the estate promises."""
SYSTEM_PRIORITIES = ("system-cluster-critical", "system-node-critical")
PEOPLE = "people"
CONTAINER_MIB = 128
"""For a container that does not say what it needs."""
CONTAINER_MILLIS = 50
OBJECTS = 100
"""Of each kind that has no other limit: they lie in the cluster's etcd."""

_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")
RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("apps", ("deployments", "deployments/scale", "statefulsets", "statefulsets/scale"), (*_READ, *_WRITE)),
    ("apps", ("replicasets",), _READ),
    ("batch", ("jobs", "cronjobs"), (*_READ, *_WRITE)),
    ("policy", ("poddisruptionbudgets",), (*_READ, *_WRITE)),
    ("", ("configmaps", "secrets", "services", "serviceaccounts", "pods"), (*_READ, *_WRITE)),
    ("", ("pods/exec", "pods/portforward"), ("get", "create")),
    ("", ("pods/eviction",), ("create",)),
    ("", ("pods/log", "endpoints", "events", "limitranges", "namespaces", "resourcequotas"), _READ),
    ("discovery.k8s.io", ("endpointslices",), _READ),
    ("events.k8s.io", ("events",), _READ),
)
"""What a bureau's people may do in their namespace. Rights, quota and limits are not theirs to change."""


@dataclass(frozen=True, kw_only=True)
class TenancyArgs:
    """`cpus`, `memory_mib` and `pods` are the most that all its pods may ask for together."""

    bureau: str
    group: str
    """Of its people, as their certificates say."""
    cpus: float
    memory_mib: int
    pods: int
    version: str
    """The cluster's: the Pod Security level means what it meant in that version, until the cluster has another."""
    promises: bool
    """It answers for a service that the estate promises, whose pods come before everyday ones."""


def tenancies(estate: Estate, cluster: Cluster, opts: pulumi.ResourceOptions) -> dict[str, Tenancy]:
    """All bureaus on one cluster, by name. `opts` lead to the cluster by their provider."""
    priorities = Priorities(f"{cluster.site}-priorities", opts)
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[priorities]))
    return {
        bureau.name: Tenancy(f"{cluster.site}-{bureau.name}", args_of(estate, cluster, bureau), after)
        for bureau in estate.bureaus
    }


def args_of(estate: Estate, cluster: Cluster, bureau: Bureau) -> TenancyArgs:
    """As the estate declares it."""
    return TenancyArgs(
        bureau=bureau.name,
        group=bureau.group,
        cpus=bureau.quota.cpus,
        memory_mib=bureau.quota.memory_mib,
        pods=bureau.quota.pods,
        version=cluster.version,
        promises=bool(estate.services_of(bureau.name)),
    )


class Priorities(pulumi.ComponentResource):
    """The cluster's priority classes, once for all bureaus. Tenancies and workloads depend on it."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Priorities", name, None, opts)
        options = child_options(self, opts)
        k8s.scheduling.v1.PriorityClass(
            f"{name}-{EVERYDAY}",
            metadata=_named(EVERYDAY),
            value=1000,
            global_default=True,
            preemption_policy="Never",
            description="What pods have that name no other. They push nobody out.",
            opts=options(),
        )
        k8s.scheduling.v1.PriorityClass(
            f"{name}-{PROMISED}",
            metadata=_named(PROMISED),
            value=1_000_000,
            description="Services that the estate promises to its users: everyday pods make room for them.",
            opts=options(),
        )
        self.register_outputs({})


class Tenancy(pulumi.ComponentResource):
    """`namespace` is there when everything is that keeps its users within it: let workloads depend on the component."""

    namespace: k8s.core.v1.Namespace

    def __init__(self, name: str, args: TenancyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Tenancy", name, None, opts)
        options = child_options(self, opts)
        self.namespace = k8s.core.v1.Namespace(
            f"{name}-namespace",
            metadata=_named(args.bureau, labels=security_labels(args.version)),
            opts=pulumi.ResourceOptions.merge(options(), pulumi.ResourceOptions(retain_on_delete=True)),
        )
        inside = {"depends_on": [self.namespace]}

        def metadata(what: str) -> Manifest:
            return _named(what, namespace=args.bureau)

        for what, spec in quotas(args).items():
            k8s.core.v1.ResourceQuota(f"{name}-{what}", metadata=metadata(what), spec=spec, opts=options(**inside))
        k8s.core.v1.LimitRange(f"{name}-limits", metadata=metadata("limits"), spec=limits(args), opts=options(**inside))
        role = k8s.rbac.v1.Role(f"{name}-role", metadata=metadata(PEOPLE), rules=rules(), opts=options(**inside))
        k8s.rbac.v1.RoleBinding(
            f"{name}-binding",
            metadata=metadata(PEOPLE),
            role_ref=_whom("Role", PEOPLE),
            subjects=[_whom("Group", args.group)],
            opts=options(depends_on=[role]),
        )
        self.register_outputs({})


def _named(name: str, **more: Manifest) -> Manifest:
    return {"name": name, **more}


def _whom(kind: str, name: str) -> Manifest:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}


def security_labels(version: str) -> dict[str, str]:
    """Refused, noted and told by the rules of the cluster's own minor version."""
    pinned = "v" + ".".join(version.split(".")[:2])
    found: dict[str, str] = {}
    for mode in ("enforce", "audit", "warn"):
        found |= {
            f"pod-security.kubernetes.io/{mode}": "restricted",
            f"pod-security.kubernetes.io/{mode}-version": pinned,
        }
    return found


def quotas(args: TenancyArgs) -> dict[str, Manifest]:
    """By name. Memory is not promised twice; there is no storage and no address to be had outside the cluster."""
    denied = SYSTEM_PRIORITIES if args.promises else (*SYSTEM_PRIORITIES, PROMISED)
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": list(denied)}
    return {
        "quota": {
            "hard": {
                "requests.cpu": f"{round(args.cpus * 1000)}m",
                "requests.memory": f"{args.memory_mib}Mi",
                "limits.memory": f"{args.memory_mib}Mi",
                "pods": str(args.pods),
                "persistentvolumeclaims": "0",
                "services.loadbalancers": "0",
                "services.nodeports": "0",
                **{f"count/{kind}": str(OBJECTS) for kind in ("configmaps", "secrets", "services", "jobs.batch")},
            }
        },
        "priorities": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}},
    }


def limits(args: TenancyArgs) -> Manifest:
    """What a container gets that does not say; one cannot have more than all together."""
    return {
        "limits": [
            {
                "type": "Container",
                "default": {"memory": f"{CONTAINER_MIB}Mi"},
                "defaultRequest": {"cpu": f"{CONTAINER_MILLIS}m", "memory": f"{CONTAINER_MIB}Mi"},
                "max": {"memory": f"{args.memory_mib}Mi"},
            }
        ]
    }


def rules() -> list[Manifest]:
    """`RULES` as Kubernetes writes them."""
    return [{"apiGroups": [group], "resources": list(kinds), "verbs": list(verbs)} for group, kinds, verbs in RULES]
