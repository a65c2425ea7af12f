"""The resources of the stack `platform`, and their dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime.rpc import is_rpc_secret

from estate.addressing import plan
from estate.loader import load
from stacks.components.resources import HEALTH_GATE, IMAGE, KUBERNETES, LAST_SITE_GUARD, site_of
from stacks.phases import phases, stack_names
from stacks.programs import workloads
from stacks.programs.context import Context
from stacks.programs.program import program
from stacks.programs.stack_hosts import stack_hosts
from tests.unit.playbooks.clusters import secrets_of, switched_on
from tests.unit.stacks.declared import Recorded, declare
from workstation.errors import GovcloudError
from workstation.oci import OciImage

ESTATE = switched_on(load())
SITES = ("shaoguan", "futian", "nanshan")
"""In the order of a change to a live estate."""
APPROVAL = OciImage(name="approval", folder=Path("/nowhere"), digest="sha256:" + "1" * 64)
CONTEXT = Context(
    estate=ESTATE,
    plan=plan(ESTATE),
    instance="lab-1",
    images={"approval": APPROVAL},
    clusters=frozenset(SITES),
)


def declared(**changes: Any) -> Recorded:
    """The program's registrations in a changed context."""
    context = replace(CONTEXT, **changes)
    return declare(lambda: workloads.declare(context, pulumi.Output.secret(secrets_of(ESTATE))), "platform")


def by_site(recorded: Recorded, kind: str) -> Mapping[str, list[str]]:
    """Return the URNs of the resources whose type has this prefix, by site."""
    found: dict[str, list[str]] = {site: [] for site in SITES}
    for urn, request in recorded.by_urn.items():
        if request.type.startswith(kind):
            found[site_of(urn)].append(urn)
    return found


def sites_waited_for(recorded: Recorded, urns: list[str], kind: str) -> set[str]:
    """Return the sites of the resources of that kind on which any of the given resources depends."""
    waited = {one for urn in urns for one in recorded.by_urn[urn].dependencies}
    return {site_of(urn) for urn in waited if recorded.by_urn[urn].type.startswith(kind)}


def test_platform_is_the_last_phase_and_exists_only_with_clusters() -> None:
    without = ESTATE.model_copy(update={"kubernetes": None})
    assert "platform" not in stack_names(without)
    assert phases(ESTATE)[-1] == ("platform",)
    assert [host.at for host in stack_hosts(ESTATE, "platform")] == list(SITES)


def test_every_image_is_pushed_to_every_site_before_any_pod_starts() -> None:
    """This also holds for a first build."""
    recorded = declared()
    images, objects = by_site(recorded, IMAGE), by_site(recorded, KUBERNETES)
    assert all(len(images[site]) == 1 for site in SITES)
    for site in SITES:
        for urn in objects[site]:
            assert sites_waited_for(recorded, [urn], IMAGE) == set(SITES), urn


def test_running_sites_change_one_by_one_and_new_sites_in_parallel() -> None:
    """A new site next to two running ones waits for no site, and no site waits for it."""
    running = declared(built=frozenset(SITES))
    objects = by_site(running, KUBERNETES)
    waited = {site: sites_waited_for(running, objects[site], KUBERNETES) - {site} for site in SITES}
    assert waited == {"shaoguan": set(), "futian": {"shaoguan"}, "nanshan": {"futian"}}
    fresh = declared()
    objects = by_site(fresh, KUBERNETES)
    assert all(sites_waited_for(fresh, objects[site], KUBERNETES) <= {site} for site in SITES)
    mixed = declared(built=frozenset({"shaoguan", "nanshan"}))
    objects = by_site(mixed, KUBERNETES)
    waited = {site: sites_waited_for(mixed, objects[site], KUBERNETES) - {site} for site in SITES}
    assert waited == {"shaoguan": set(), "futian": set(), "nanshan": {"shaoguan"}}


def test_no_site_starts_before_the_service_works_at_the_previous_site() -> None:
    """Each gate waits for its own site's pods, and checks them at the address of the site's own ingress."""
    recorded = declared(built=frozenset(SITES))
    gates, objects = by_site(recorded, HEALTH_GATE), by_site(recorded, KUBERNETES)
    before = {site: sites_waited_for(recorded, objects[site], HEALTH_GATE) for site in SITES}
    assert before == {"shaoguan": set(), "futian": {"shaoguan"}, "nanshan": {"futian"}}
    for site in SITES:
        (urn,) = gates[site]
        assert site in sites_waited_for(recorded, [urn], f"{KUBERNETES}apps/v1:Deployment")
        own = f"http://{CONTEXT.plan.lan(f'{site}-kube1').ipv4}:8080"
        assert list(recorded.by_urn[urn].object["urls"]) == [f"{own}/readyz", f"{own}/writez"]
        assert recorded.by_urn[urn].object["address"] == str(CONTEXT.plan.management(f"{site}-kube1"))
    without = declared(built=frozenset(SITES), without=frozenset({"shaoguan"}))
    assert sites_waited_for(without, by_site(without, KUBERNETES)["futian"], HEALTH_GATE) == set()


def test_a_citys_pods_wait_for_the_guard_that_probes_the_other_city() -> None:
    """The guard runs after the gate of the site before. A site that serves no citizens has no guard.

    An excluded site is not probed.
    """
    recorded = declared(built=frozenset(SITES))
    guards = by_site(recorded, LAST_SITE_GUARD)
    assert {site: len(urns) for site, urns in guards.items()} == {"shaoguan": 0, "futian": 1, "nanshan": 1}
    for site, before in (("futian", "shaoguan"), ("nanshan", "futian")):
        (urn,) = guards[site]
        assert sites_waited_for(recorded, [urn], HEALTH_GATE) == {before}
        pods = [one for one in by_site(recorded, KUBERNETES)[site] if one.endswith("::approval-deployment")]
        assert sites_waited_for(recorded, pods, LAST_SITE_GUARD) >= {site}
        assert set(recorded.by_urn[urn].object["gate"]["at"]) == {"futian", "nanshan"}
    without = declared(built=frozenset(SITES), without=frozenset({"nanshan"}))
    (urn,) = by_site(without, LAST_SITE_GUARD)["futian"]
    assert set(without.by_urn[urn].object["gate"]["at"]) == {"futian"}


def test_a_gate_runs_again_only_for_new_pods() -> None:
    """A new image makes new pods. The gate's version contains no secret."""

    def versions(**changes: Any) -> set[str]:
        recorded = declared(**changes)
        return {
            str(recorded.by_urn[urn].object["version"])
            for urns in by_site(recorded, HEALTH_GATE).values()
            for urn in urns
        }

    other = replace(APPROVAL, digest="sha256:" + "2" * 64)
    assert versions() == versions(built=frozenset(SITES))
    assert not versions() & versions(images={"approval": other})


def test_no_site_waits_for_a_dead_site_and_the_dead_site_stays_declared() -> None:
    recorded = declared(built=frozenset(SITES), without=frozenset({"shaoguan"}))
    objects = by_site(recorded, KUBERNETES)
    assert objects["shaoguan"]
    for site in ("futian", "nanshan"):
        for kind in (KUBERNETES, IMAGE):
            assert "shaoguan" not in sites_waited_for(recorded, objects[site], kind)


def test_each_sites_objects_go_to_its_own_cluster() -> None:
    """The providers differ, and each one has the address of its own cluster."""
    recorded = declared()
    for site in SITES:
        for urn in by_site(recorded, KUBERNETES)[site]:
            assert site_of(recorded.by_urn[urn].provider.rpartition("::")[0]) == site, urn
    clusters = by_site(recorded, "pulumi:providers:kubernetes")
    configs = (str(recorded.by_urn[urn].object["kubeconfig"]["value"]) for [urn] in clusters.values())
    servers = {yaml.safe_load(text)["clusters"][0]["cluster"]["server"] for text in configs}
    assert servers == {f"https://{CONTEXT.plan.management(f'{site}-kube1')}:6443" for site in SITES}


def test_pods_are_started_from_the_digest_that_was_pushed() -> None:
    recorded = declared()
    spec = recorded.inputs("approval-deployment")["spec"]
    template = (spec["value"] if is_rpc_secret(spec) else spec)["template"]
    assert template["spec"]["containers"][0]["image"] == f"registry.govcloud/approval@{APPROVAL.digest}"
    assert recorded.inputs("image-approval")["digest"] == APPROVAL.digest


def test_a_missing_image_is_reported_with_the_command_that_builds_it() -> None:
    """Plain `pulumi up` builds no image."""
    with pytest.raises(GovcloudError, match="there is no image of approval yet") as failed:
        program(replace(CONTEXT, images={}), "platform")
    assert "govcloud plan" in failed.value.next_step
