"""What a bureau gets on a cluster, and in which order."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
import pytest

from estate.loader import load
from estate.model import Cluster
from stacks.components.tenancy import EVERYDAY, PROMISED, TenancyArgs, args_of, quotas, tenancies
from tests.unit.stacks.declared import Recorded, declare

ESTATE = load()
CLUSTER = Cluster(site="nanshan", version="1.37.2")
BUREAU = ESTATE.bureau("human-resources")
ARGS = args_of(ESTATE, CLUSTER, BUREAU)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """The estate's bureaus on one cluster, after something else."""

    def program() -> None:
        provider = k8s.Provider("there", kubeconfig="{}")
        first = k8s.core.v1.ConfigMap(
            "first", metadata={"name": "first"}, opts=pulumi.ResourceOptions(provider=provider)
        )
        tenancies(ESTATE, CLUSTER, pulumi.ResourceOptions(provider=provider, depends_on=[first]))

    return declare(program, "platform")


def test_every_bureau_has_a_namespace_of_its_name(recorded: Recorded) -> None:
    """Pod Security is enforced by the rules of the cluster's own version."""
    names = recorded.names("Namespace")
    assert len(names) == len(ESTATE.bureaus)
    metadata = recorded.inputs("nanshan-human-resources-namespace")["metadata"]
    assert metadata["name"] == BUREAU.name
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert metadata["labels"]["pod-security.kubernetes.io/enforce-version"] == "v1.37"


def test_a_namespace_outlives_its_entry(recorded: Recorded) -> None:
    """What people put there is not ours to remove; what gives them rights goes."""
    kept = {name for name, request in recorded.requests.items() if request.retainOnDelete}
    assert kept == set(recorded.names("Namespace"))


def test_nothing_is_in_a_namespace_before_it_and_priorities_are_first(recorded: Recorded) -> None:
    """And everything waits for what the whole was told to wait for."""
    inside = [name for kind in ("ResourceQuota", "LimitRange", "Role", "RoleBinding") for name in recorded.names(kind)]
    assert len(inside) == 5 * len(ESTATE.bureaus)
    classes = set(recorded.names("PriorityClass"))
    for name in inside:
        assert {"first", *classes} <= recorded.depends_on(name)
    for name in set(inside) - set(recorded.names("RoleBinding")):
        assert "nanshan-human-resources-namespace" in recorded.depends_on(name)
    assert all("::there::" in recorded.requests[name].provider for name in (*inside, *classes))


def test_pods_that_name_no_priority_push_nobody_out(recorded: Recorded) -> None:
    """And a promised service's come before them."""
    everyday = recorded.inputs(f"nanshan-priorities-{EVERYDAY}")
    promised = recorded.inputs(f"nanshan-priorities-{PROMISED}")
    assert (everyday["globalDefault"], everyday["preemptionPolicy"]) == (True, "Never")
    assert promised["value"] > everyday["value"]
    assert "preemptionPolicy" not in promised


def test_the_quota_is_the_estates() -> None:
    """Whole thousandths of a processor: Kubernetes knows no finer ones."""
    assert (ARGS.cpus, ARGS.memory_mib) == (BUREAU.quota.cpus, BUREAU.quota.memory_mib)
    odd = TenancyArgs(**{**vars(ARGS), "cpus": 0.3 + 0.0001})
    assert quotas(odd)["quota"]["hard"]["requests.cpu"] == "300m"


def test_only_who_answers_for_a_promised_service_has_its_priority() -> None:
    """Nobody has the system's."""

    def denied(args: TenancyArgs) -> list[str]:
        found: list[str] = quotas(args)["priorities"]["scopeSelector"]["matchExpressions"][0]["values"]
        return found

    assert PROMISED not in denied(ARGS)
    assert PROMISED in denied(TenancyArgs(**{**vars(ARGS), "promises": False}))
    assert "system-cluster-critical" in denied(ARGS)
