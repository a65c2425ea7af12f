"""The objects of a bureau's tenancy on a cluster, and their order."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
import pytest

from estate.loader import load
from estate.model import Cluster
from stacks.components.tenancy import EVERYDAY, PROMISED, quotas, tenancies
from tests.unit.stacks.declared import Recorded, declare

ESTATE = load()
CLUSTER = Cluster(site="nanshan", version="1.37.2")
BUREAU = ESTATE.bureau("human-resources")


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """The estate's bureaus on one cluster, after another object."""

    def program() -> None:
        provider = k8s.Provider("there", kubeconfig="{}")
        first = k8s.core.v1.ConfigMap(
            "first", metadata={"name": "first"}, opts=pulumi.ResourceOptions(provider=provider)
        )
        tenancies(ESTATE, CLUSTER, pulumi.ResourceOptions(provider=provider, depends_on=[first]))

    return declare(program, "platform")


def test_every_bureau_has_a_namespace_of_its_name(recorded: Recorded) -> None:
    """Pod Security is enforced by the rules of the cluster's version."""
    names = recorded.names("Namespace")
    assert len(names) == len(ESTATE.bureaus)
    metadata = recorded.inputs("nanshan-human-resources-namespace")["metadata"]
    assert metadata["name"] == BUREAU.name
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert metadata["labels"]["pod-security.kubernetes.io/enforce-version"] == "v1.37"


def test_a_namespace_stays_when_its_bureau_leaves_the_estate(recorded: Recorded) -> None:
    """The objects of the bureau's people are not deleted. Their rights are."""
    kept = {name for name, request in recorded.requests.items() if request.retainOnDelete}
    assert kept == set(recorded.names("Namespace"))


def test_objects_depend_on_their_namespace_and_on_the_priorities(recorded: Recorded) -> None:
    """All objects also depend on the dependencies of the component."""
    inside = [name for kind in ("ResourceQuota", "LimitRange", "Role", "RoleBinding") for name in recorded.names(kind)]
    assert len(inside) == 5 * len(ESTATE.bureaus)
    classes = set(recorded.names("PriorityClass"))
    for name in inside:
        assert {"first", *classes} <= recorded.depends_on(name)
    for name in set(inside) - set(recorded.names("RoleBinding")):
        assert "nanshan-human-resources-namespace" in recorded.depends_on(name)
    assert all("::there::" in recorded.requests[name].provider for name in (*inside, *classes))


def test_pods_without_a_priority_do_not_preempt_others(recorded: Recorded) -> None:
    """Pods of a promised service have priority over them."""
    everyday = recorded.inputs(f"nanshan-priorities-{EVERYDAY}")
    promised = recorded.inputs(f"nanshan-priorities-{PROMISED}")
    assert (everyday["globalDefault"], everyday["preemptionPolicy"]) == (True, "Never")
    assert promised["value"] > everyday["value"]
    assert "preemptionPolicy" not in promised


def test_the_quota_is_the_estates() -> None:
    """In whole thousandths of a processor: Kubernetes has no smaller unit."""
    odd = BUREAU.quota.model_copy(update={"cpus": 0.3 + 0.0001})
    hard = quotas(odd, promises=True)["quota"]["hard"]
    assert (hard["requests.cpu"], hard["limits.memory"]) == ("300m", f"{BUREAU.quota.memory_mib}Mi")


def test_only_bureaus_with_a_promised_service_may_use_its_priority() -> None:
    """No bureau may use the system's priorities."""

    def denied(promises: bool) -> list[str]:
        found: list[str] = quotas(BUREAU.quota, promises)["priorities"]["scopeSelector"]["matchExpressions"][0][
            "values"
        ]
        return found

    assert ESTATE.services_of(BUREAU.name)
    assert PROMISED not in denied(True)
    assert PROMISED in denied(False)
    assert "system-cluster-critical" in denied(True)
