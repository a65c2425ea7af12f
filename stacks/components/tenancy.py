"""A bureau's tenancy on a cluster: a namespace in which only its people may work.

The API server refuses violations at admission, for the operator's workloads as for the bureau's own: pods that break
the Pod Security level `restricted`, pods over the quota, and priorities that the bureau may not use. The estate's
operators need no entry here: `kubernetes_control_plane` makes them administrators of the whole cluster.

A bureau that leaves the estate loses its rights at once. Its namespace, with all objects in it, stays until an operator
deletes it by hand.
"""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s

from estate.model import Bureau, Cluster, Estate, Quota
from stacks.components.child_options import child_options
from stacks.components.pods import Manifest

EVERYDAY, PROMISED = "everyday", "promised"
"""Priority classes: the default of pods, and the class of services that the estate promises."""
SYSTEM_PRIORITIES = ("system-cluster-critical", "system-node-critical")
PEOPLE = "people"
CONTAINER_MIB = 128
"""For a container that declares no memory."""
CONTAINER_MILLIS = 50
OBJECTS = 100
"""Limit for each kind of object that has no other limit. The objects occupy the cluster's etcd."""

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
"""Rights of a bureau's people in their namespace. They cannot change rights, quota or limits."""


def tenancies(estate: Estate, cluster: Cluster, opts: pulumi.ResourceOptions) -> dict[str, Tenancy]:
    """Declare the tenancies of all bureaus on one cluster.

    Return them by bureau. `opts` name the cluster's provider.
    """
    priorities = Priorities(f"{cluster.site}-priorities", opts)
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[priorities]))
    return {
        bureau.name: Tenancy(
            f"{cluster.site}-{bureau.name}", bureau, cluster.version, bool(estate.services_of(bureau.name)), after
        )
        for bureau in estate.bureaus
    }


class Priorities(pulumi.ComponentResource):
    """The cluster's priority classes, one set for all bureaus. Tenancies and workloads depend on it."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("govcloud:stacks:Priorities", name, None, opts)
        options = child_options(self, opts)
        k8s.scheduling.v1.PriorityClass(
            f"{name}-{EVERYDAY}",
            metadata=_metadata(EVERYDAY),
            value=1000,
            global_default=True,
            preemption_policy="Never",
            description="What pods have that name no other. They push nobody out.",
            opts=options(),
        )
        k8s.scheduling.v1.PriorityClass(
            f"{name}-{PROMISED}",
            metadata=_metadata(PROMISED),
            value=1_000_000,
            description="Services that the estate promises to its users: everyday pods make room for them.",
            opts=options(),
        )
        self.register_outputs({})


class Tenancy(pulumi.ComponentResource):
    """A bureau's tenancy. Workloads must depend on the component, not only on `namespace`: then quota and rights exist
    first.

    The cluster's `version` fixes the meaning of the Pod Security level until the cluster is upgraded.
    """

    namespace: k8s.core.v1.Namespace

    def __init__(self, name: str, bureau: Bureau, version: str, promises: bool, opts: pulumi.ResourceOptions) -> None:
        super().__init__("govcloud:stacks:Tenancy", name, None, opts)
        options = child_options(self, opts)
        self.namespace = k8s.core.v1.Namespace(
            f"{name}-namespace",
            metadata=_metadata(bureau.name, labels=security_labels(version)),
            opts=pulumi.ResourceOptions.merge(options(), pulumi.ResourceOptions(retain_on_delete=True)),
        )
        inside = {"depends_on": [self.namespace]}

        def metadata(what: str) -> Manifest:
            return _metadata(what, namespace=bureau.name)

        for what, spec in quotas(bureau.quota, promises).items():
            k8s.core.v1.ResourceQuota(f"{name}-{what}", metadata=metadata(what), spec=spec, opts=options(**inside))
        k8s.core.v1.LimitRange(
            f"{name}-limits", metadata=metadata("limits"), spec=limits(bureau.quota), opts=options(**inside)
        )
        role = k8s.rbac.v1.Role(f"{name}-role", metadata=metadata(PEOPLE), rules=rules(), opts=options(**inside))
        k8s.rbac.v1.RoleBinding(
            f"{name}-binding",
            metadata=metadata(PEOPLE),
            role_ref=_rbac_reference("Role", PEOPLE),
            subjects=[_rbac_reference("Group", bureau.group)],
            opts=options(depends_on=[role]),
        )
        self.register_outputs({})


def _metadata(name: str, **more: Manifest) -> Manifest:
    return {"name": name, **more}


def _rbac_reference(kind: str, name: str) -> Manifest:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}


def security_labels(version: str) -> dict[str, str]:
    """Return the labels for Pod Security: the API server refuses, logs and warns by the rules of the cluster's minor
    version.
    """
    pinned = "v" + ".".join(version.split(".")[:2])
    found: dict[str, str] = {}
    for mode in ("enforce", "audit", "warn"):
        found |= {
            f"pod-security.kubernetes.io/{mode}": "restricted",
            f"pod-security.kubernetes.io/{mode}-version": pinned,
        }
    return found


def quotas(quota: Quota, promises: bool) -> dict[str, Manifest]:
    """Return the quotas by name. `promises`: the bureau provides a service that the estate promises.

    Memory is not overcommitted. Storage and addresses outside the cluster are not available.
    """
    denied = SYSTEM_PRIORITIES if promises else (*SYSTEM_PRIORITIES, PROMISED)
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": list(denied)}
    return {
        "quota": {
            "hard": {
                "requests.cpu": f"{round(quota.cpus * 1000)}m",
                "requests.memory": f"{quota.memory_mib}Mi",
                "limits.memory": f"{quota.memory_mib}Mi",
                "pods": str(quota.pods),
                "persistentvolumeclaims": "0",
                "services.loadbalancers": "0",
                "services.nodeports": "0",
                **{f"count/{kind}": str(OBJECTS) for kind in ("configmaps", "secrets", "services", "jobs.batch")},
            }
        },
        "priorities": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}},
    }


def limits(quota: Quota) -> Manifest:
    """Return the defaults for containers that declare no resources.

    One container cannot have more than the whole quota.
    """
    return {
        "limits": [
            {
                "type": "Container",
                "default": {"memory": f"{CONTAINER_MIB}Mi"},
                "defaultRequest": {"cpu": f"{CONTAINER_MILLIS}m", "memory": f"{CONTAINER_MIB}Mi"},
                "max": {"memory": f"{quota.memory_mib}Mi"},
            }
        ]
    }


def rules() -> list[Manifest]:
    """Return `RULES` in the format of Kubernetes."""
    return [{"apiGroups": [group], "resources": list(kinds), "verbs": list(verbs)} for group, kinds, verbs in RULES]
