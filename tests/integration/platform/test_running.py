"""Changes, failures and losses on a running platform, through the real engine.

All tests share one platform: each finds `running.image` at both sites, and leaves it or a newer one there.
"""

from __future__ import annotations

import json

import pytest

from estate.model import Estate
from stacks.runs import engine
from stacks.state import state_files, store
from tests.integration.platform.conftest import Running
from tests.integration.platform.two_sites import (
    CITY,
    DEPLOYMENT,
    NAMESPACE,
    REMOTE,
    SERVICE,
    STACK,
    answers,
    kubelets,
    reference,
    up,
)
from tests.polling import until


def test_drift_is_reported_by_site_and_repaired(running: Running, estate: Estate) -> None:
    """A hand edit, a deleted object and a lost image are reported with their site, and nothing else is."""
    remote, city = running.sites
    city.cluster.kubectl("-n", NAMESPACE, "scale", "deployment", SERVICE, "--replicas=1")
    remote.cluster.kubectl("-n", NAMESPACE, "delete", "service", SERVICE)
    remote.registry.empty()
    found = engine.drift(estate, STACK).differences
    assert set(found) == {
        f"{CITY}: {DEPLOYMENT}",
        f"{REMOTE}: Service {NAMESPACE}/{SERVICE}",
        f"{REMOTE}: image {SERVICE}",
    }
    assert "spec.replicas: 2 -> 1" in found[f"{CITY}: {DEPLOYMENT}"]
    with kubelets(running.sites, running.image):
        done, _ = up(estate, running.image)
    assert set(done.objects_changed) == set(found)
    assert engine.drift(estate, STACK).differences == {}
    assert remote.holds(running.image)


@pytest.mark.nightly
def test_pods_that_do_not_restart_are_reported_although_all_objects_are_as_declared(
    running: Running, estate: Estate
) -> None:
    """`drift` and an `up` without a new declaration both report them, until the pods are ready again."""
    with kubelets(running.sites, running.image):
        assert up(estate, running.image)[0].changes == 0
    city = running.sites[1]
    city.cluster.kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--force", "--grace-period=0")
    status = ("-n", NAMESPACE, "get", "deployment", SERVICE, "-o", "jsonpath={.status.readyReplicas}")
    until("the Deployment's controller has seen it", lambda: city.cluster.kubectl(*status) == "", 30)
    found = engine.drift(estate, STACK).differences
    assert set(found) == {f"{CITY}: {DEPLOYMENT}", f"{CITY}: Service {NAMESPACE}/{SERVICE}"}
    assert all("not ready" in text for texts in found.values() for text in texts)
    with kubelets(running.sites, running.image):
        up(estate, running.image)
    assert city.cluster.kubectl(*status) == "2"
    assert engine.drift(estate, STACK).differences == {}


def test_a_bad_version_stops_at_the_first_site_and_is_rolled_back(running: Running, estate: Estate) -> None:
    """The image is at all sites by then. The operator sees the cause, and nothing needs repair.

    The same version is deployed everywhere once the cause is gone.
    """
    city, present, new = running.sites[1], running.image, running.another()
    said: list[str] = []
    with kubelets(running.sites, present, bad=new):
        with pytest.raises(engine.StacksFailed) as failed:
            engine.up(estate, STACK, (), said.append, [new])
        assert f"{REMOTE}: {DEPLOYMENT}: its new version is given up: pod {SERVICE}-" in str(failed.value)
        assert "last with exit code 1 and the message: no such setting" in str(failed.value)
        assert "the previous version is back, and all its pods are ready" in str(failed.value)
        assert f"{REMOTE}: {DEPLOYMENT}: the previous version is back" in said
        assert not any(change.resource.startswith(f"{CITY}: Dep") for a in failed.value.results for change in a.changes)
        assert [site.deployed() for site in running.sites] == [reference(present)] * 2
        assert city.holds(new)
        assert engine.drift(estate, STACK).differences == {}
    running.image = new
    with kubelets(running.sites, new):
        up(estate, new)
    assert [site.deployed() for site in running.sites] == [reference(new)] * 2


@pytest.mark.nightly
def test_a_version_that_starts_but_cannot_decide_stops_at_the_first_site(running: Running, estate: Estate) -> None:
    """Its pods are ready. The operator sees its answer. The next run checks again, and continues once it works."""
    remote, city = running.sites
    present, new = running.image, running.another()
    said = "/writez answers 503: no_primary"
    answers(running.folder, remote, said)
    try:
        with kubelets(running.sites, present, new):
            for _ in range(2):
                with pytest.raises(engine.StacksFailed) as failed:
                    up(estate, new)
                assert f"{REMOTE}: {SERVICE}: its new pods are ready, but it does not work: {said}" in str(failed.value)
                assert [site.deployed() for site in running.sites] == [reference(new), reference(present)]
            assert engine.drift(estate, STACK).differences == {}
            answers(running.folder, remote)
            running.image = new
            done, _ = up(estate, new)
    finally:
        answers(running.folder, remote)
    assert set(done.objects_changed) == {
        f"{REMOTE}: gate of {SERVICE}",
        f"{CITY}: permit of {SERVICE}",
        f"{CITY}: {DEPLOYMENT}",
        f"{CITY}: gate of {SERVICE}",
    }
    assert city.deployed() == reference(new)


@pytest.mark.nightly
def test_a_site_with_a_dead_cluster_is_reported_skipped_and_deployed_later(running: Running, estate: Estate) -> None:
    """Its host answers, its cluster does not. No resource waits for it, and its state is kept."""
    remote, city = running.sites
    present, new = running.image, running.another()
    before = {one["urn"] for one in store.resources("platform")}
    remote.cluster.stop_api()
    try:
        with pytest.raises(engine.StacksFailed, match=f"--without {REMOTE}") as refused:
            engine.plan(estate, STACK, images=[new])
        assert f"{REMOTE}: the Kubernetes API server at {remote.address}:6443 does not answer" in str(refused.value)
        found = engine.drift(estate, STACK).differences
        assert list(found) == [f"{REMOTE}: cluster"]
        assert engine.plan(estate, STACK, [REMOTE], images=[present]).changes == ()
        assert engine.drift(estate, STACK, [REMOTE]).differences == {}
        with kubelets([city], new):
            done, _ = up(estate, new, without=(REMOTE,))
        assert all(name.startswith(CITY) for name in done.objects_changed)
        assert done.deferred == (remote.host,)
        assert city.deployed() == reference(new)
        assert {one["urn"] for one in store.resources("platform")} == before
    finally:
        remote.cluster.start_api()
    running.image = new
    with kubelets(running.sites, new):
        up(estate, new)
    assert remote.deployed() == reference(new)


@pytest.mark.nightly
def test_destroy_empties_the_state_even_with_dead_clusters(running: Running, estate: Estate) -> None:
    """It does so at once, and running pods keep running. The next `up` adopts the existing objects."""
    remote, city = running.sites
    uid = ("-n", NAMESPACE, "get", "deployment", SERVICE, "-o", "jsonpath={.metadata.uid}")
    before = city.cluster.kubectl(*uid)
    remote.cluster.stop_api()
    try:
        with pytest.MonkeyPatch.context() as patch:
            # The guard would require a running lab. Another test covers the guard itself.
            patch.setattr(engine, "guard_destroy", lambda found: None)
            engine.destroy(estate, STACK)
        assert store.resources("platform") == []
    finally:
        remote.cluster.start_api()
    with kubelets(running.sites, running.image):
        done, _ = up(estate, running.image)
    assert f"{CITY}: {DEPLOYMENT}" in done.objects_changed
    assert city.cluster.kubectl(*uid) == before


def test_the_state_names_clusters_without_their_keys(running: Running) -> None:
    """Kubeconfigs and identities are encrypted."""
    text = state_files.checkpoint("platform").read_text()
    resources = json.loads(text)["checkpoint"]["latest"]["resources"]
    providers = [one for one in resources if one["type"] == "pulumi:providers:kubernetes"]
    assert len(providers) == len(running.sites)
    assert all("ciphertext" in one["inputs"]["kubeconfig"] for one in providers)
    images = [one for one in resources if one["type"] == "govcloud:index:Image"]
    assert all("ciphertext" in json.dumps(one["inputs"]["identity"]) for one in images)
    assert "PRIVATE KEY" not in text
