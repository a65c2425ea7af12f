"""The stack `platform` through the real engine, against real API servers and registries."""

from __future__ import annotations

import json

import pytest

from estate.model import Estate
from playbooks.render.kubernetes import image_reference
from stacks import engine, state, workspace
from tests.integration.platform.two_sites import (
    CITY,
    NAMESPACE,
    PASSWORD,
    REMOTE,
    SERVICE,
    Built,
    kubelets,
    password_in,
)
from workstation.oci import Image

STACK = ["platform"]
DEPLOYMENT = f"Deployment {NAMESPACE}/{SERVICE}"


def up(estate: Estate, *images: Image, without: tuple[str, ...] = ()) -> tuple[engine.UpResult, list[str]]:
    """`./govcloud up platform`, and what it said."""
    said: list[str] = []
    done = engine.up(estate, STACK, without, said.append, images)
    return done, said


def reference(image: Image) -> str:
    return image_reference(image.name, image.digest)


def test_a_plan_comes_before_everything_else_and_the_platform_after_it(
    built: Built, estate: Estate, first: Image
) -> None:
    """Without secrets, without clusters, and then with both; what stands is left alone, and no secret is shown."""
    planned = engine.plan(estate, STACK, made=[first])
    names = {change.resource for change in planned.changes}
    assert {f"{site}: image {SERVICE}" for site in (REMOTE, CITY)} < names
    assert {f"{site}: {DEPLOYMENT}" for site in (REMOTE, CITY)} < names
    built.data()
    assert len(engine.plan(estate, STACK, made=[first]).changes) == len(planned.changes)
    built.clusters()
    assert len(engine.plan(estate, STACK, made=[first]).changes) == len(planned.changes)
    assert not built.sites[0].holds(first)
    with kubelets(built.sites, first):
        done, said = up(estate, first)
    assert done.changes == len(planned.changes)
    assert set(done.objects_changed) == names
    assert all(site.holds(first) and site.deployed() == reference(first) for site in built.sites)
    assert any(line.startswith(f"{CITY}: {DEPLOYMENT}: 0 of 2") for line in said)
    again, said = up(estate, first)
    assert (again.changes, again.objects_changed) == (0, ())
    assert engine.plan(estate, STACK, made=[first]).changes == ()
    assert engine.drift(estate, STACK).differences == {}
    assert password_in(workspace.state_home()) == []
    assert PASSWORD not in "\n".join([*said, planned.as_text()])


@pytest.fixture
def running(built: Built, estate: Estate, first: Image) -> Built:
    """The first version at both sites."""
    built.data()
    built.clusters()
    with kubelets(built.sites, first):
        up(estate, first)
    return built


def test_what_was_changed_behind_its_back_is_named_and_repaired(running: Built, estate: Estate, first: Image) -> None:
    """A hand edit, a deleted object, a lost image: each with its site, and nothing else."""
    remote, city = running.sites
    city.cluster.kubectl("-n", NAMESPACE, "scale", "deployment", SERVICE, "--replicas=1")
    remote.cluster.kubectl("-n", NAMESPACE, "delete", "service", SERVICE)
    remote.empty_registry()
    found = engine.drift(estate, STACK).differences
    assert set(found) == {
        f"{CITY}: {DEPLOYMENT}",
        f"{REMOTE}: Service {NAMESPACE}/{SERVICE}",
        f"{REMOTE}: image {SERVICE}",
    }
    assert "spec.replicas: 2 -> 1" in found[f"{CITY}: {DEPLOYMENT}"]
    with kubelets(running.sites, first):
        done, _ = up(estate, first)
    assert set(done.objects_changed) == set(found)
    assert engine.drift(estate, STACK).differences == {}
    assert remote.holds(first)


def test_a_bad_version_stops_at_the_first_site(running: Built, estate: Estate, first: Image, second: Image) -> None:
    """Its image is at all sites by then; the next run puts right what it has begun."""
    remote, city = running.sites
    with kubelets(running.sites, first):
        with pytest.raises(
            engine.StacksFailed, match=f"{REMOTE}: {DEPLOYMENT}: .*(not ready after|timed out progressing)"
        ) as failed:
            up(estate, second)
        assert not any(change.resource.startswith(f"{CITY}: Dep") for a in failed.value.answers for change in a.changes)
        assert remote.deployed() == reference(second)
        assert city.deployed() == reference(first)
        assert city.holds(second)
        done, _ = up(estate, first)
    assert remote.deployed() == reference(first)
    assert f"{REMOTE}: {DEPLOYMENT}" in done.objects_changed


def test_a_dead_site_is_told_left_out_and_caught_up_with(
    running: Built, estate: Estate, first: Image, second: Image
) -> None:
    """Its host answers, its cluster does not: nobody waits for it, and nothing of it is forgotten."""
    remote, city = running.sites
    before = {one["urn"] for one in state.resources("platform")}
    remote.cluster.stop_api()
    try:
        with pytest.raises(engine.StacksFailed, match=f"--without {REMOTE}") as refused:
            engine.plan(estate, STACK, made=[second])
        assert f"{REMOTE}: the Kubernetes API server at {remote.address}:6443 does not answer" in str(refused.value)
        found = engine.drift(estate, STACK).differences
        assert list(found) == [f"{REMOTE}: cluster"]
        assert engine.plan(estate, STACK, [REMOTE], made=[first]).changes == ()
        assert engine.drift(estate, STACK, [REMOTE]).differences == {}
        with kubelets([city], second):
            done, _ = up(estate, second, without=(REMOTE,))
        assert all(name.startswith(CITY) for name in done.objects_changed)
        assert done.deferred == (remote.host,)
        assert city.deployed() == reference(second)
        assert {one["urn"] for one in state.resources("platform")} == before
    finally:
        remote.cluster.start_api()
    with kubelets(running.sites, second):
        up(estate, second)
    assert remote.deployed() == reference(second)


def test_a_site_that_is_dead_from_the_first_build_on_follows_later(built: Built, estate: Estate, first: Image) -> None:
    """Nothing of it is made, nor waited for."""
    built.data()
    built.clusters()
    with kubelets(built.sites, first):
        done, _ = up(estate, first, without=(REMOTE,))
        assert all(name.startswith(CITY) for name in done.objects_changed)
        later, _ = up(estate, first)
    assert all(name.startswith(REMOTE) for name in later.objects_changed)
    assert all(site.deployed() == reference(first) for site in built.sites)


def test_a_lab_is_forgotten_even_with_dead_clusters(running: Built, estate: Estate, first: Image) -> None:
    """At once, and what runs goes on running; the next `up` knows it again."""
    remote, city = running.sites
    uid = ("-n", NAMESPACE, "get", "deployment", SERVICE, "-o", "jsonpath={.metadata.uid}")
    before = city.cluster.kubectl(*uid)
    remote.cluster.stop_api()
    lab = estate.model_copy(update={"lab": True})
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(state, "instance", lambda found: estate.name)
            engine.destroy(lab, STACK)
        assert state.resources("platform") == []
    finally:
        remote.cluster.start_api()
    with kubelets(running.sites, first):
        done, _ = up(estate, first)
    assert f"{CITY}: {DEPLOYMENT}" in done.objects_changed
    assert city.cluster.kubectl(*uid) == before


def test_the_state_names_clusters_without_their_keys(running: Built) -> None:
    """Kubeconfigs and identities are encrypted."""
    told = workspace.checkpoint("platform").read_text()
    resources = json.loads(told)["checkpoint"]["latest"]["resources"]
    providers = [one for one in resources if one["type"] == "pulumi:providers:kubernetes"]
    assert len(providers) == len(running.sites)
    assert all("ciphertext" in one["inputs"]["kubeconfig"] for one in providers)
    images = [one for one in resources if one["type"] == "govcloud:index:Image"]
    assert all("ciphertext" in json.dumps(one["inputs"]["identity"]) for one in images)
    assert "PRIVATE KEY" not in told
