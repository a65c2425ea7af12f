"""The first build of the stack `platform`, through the real engine, with real API servers and registries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estate.addressing import plan
from estate.loader import load
from estate.model import Estate
from stacks.runs import engine
from stacks.state import state_files
from tests.integration.platform.two_sites import (
    CITY,
    DEPLOYMENT,
    GATEWAY,
    NAMESPACE,
    PASSWORD,
    REMOTE,
    SERVICE,
    STACK,
    Built,
    Site,
    at_two_sites,
    image,
    kubelets,
    password_in,
    reference,
    up,
)
from tests.onboarding import with_the_entry
from workstation.oci import OciImage

pytestmark = pytest.mark.nightly


def test_a_plan_works_before_secrets_and_clusters_exist(built: Built, estate: Estate, first: OciImage) -> None:
    """Plan without secrets, without clusters, and then with both. Then deploy.

    A second run changes nothing, and no secret is shown. Objects with files and secrets are named by their content, so
    their names are known only when the secrets are.
    """
    planned = engine.plan(estate, STACK, images=[first])
    names = {change.resource for change in planned.changes}
    assert {f"{site}: image {SERVICE}" for site in (REMOTE, CITY)} < names
    assert {f"{site}: {DEPLOYMENT}" for site in (REMOTE, CITY)} < names
    built.data()
    assert len(engine.plan(estate, STACK, images=[first]).changes) == len(planned.changes)
    built.clusters()
    known = engine.plan(estate, STACK, images=[first])
    assert len(known.changes) == len(planned.changes)
    assert not built.sites[0].holds(first)
    with kubelets(built.sites, first):
        done, said = up(estate, first)
    assert done.changes == len(planned.changes)
    assert set(done.objects_changed) == {change.resource for change in known.changes}
    assert all(site.holds(first) and site.deployed() == reference(first) for site in built.sites)
    assert f"{CITY}: {DEPLOYMENT}: create" in said
    again, said = up(estate, first)
    assert (again.changes, again.objects_changed) == (0, ())
    assert engine.plan(estate, STACK, images=[first]).changes == ()
    assert engine.drift(estate, STACK).differences == {}
    assert password_in(state_files.state_home()) == []
    assert PASSWORD not in "\n".join([*said, planned.as_text(), known.as_text()])


def test_a_site_that_is_dead_from_the_first_build_on_follows_later(
    built: Built, estate: Estate, first: OciImage
) -> None:
    """No resource of it is created, and no resource waits for it."""
    built.data()
    built.clusters()
    with kubelets(built.sites, first):
        done, _ = up(estate, first, without=(REMOTE,))
        assert all(name.startswith(CITY) for name in done.objects_changed)
        later, _ = up(estate, first)
    assert all(name.startswith(REMOTE) for name in later.objects_changed)
    assert all(site.deployed() == reference(first) for site in built.sites)


def test_a_bureaus_gateway_runs_at_every_site_and_forwards_to_the_service(
    built: Built, first: OciImage, tmp_path: Path
) -> None:
    """It is planned before anything exists.

    It has its fixed address and forwards to the service's pods at their address.
    """
    estate, haproxy = at_two_sites(with_the_entry(load())), image(tmp_path, "1", "haproxy")
    door = f"Deployment {NAMESPACE}/{GATEWAY}"
    planned = engine.plan(estate, STACK, images=[first, haproxy])
    assert {f"{site}: {door}" for site in (REMOTE, CITY)} < {change.resource for change in planned.changes}
    built.data()
    built.clusters()
    with kubelets(built.sites, first, haproxy):
        done, said = up(estate, first, haproxy)
        assert {f"{site}: {door}" for site in (REMOTE, CITY)} < set(done.objects_changed)
        assert up(estate, first, haproxy)[0].changes == 0
    assert engine.drift(estate, STACK).differences == {}
    for site in built.sites:

        def found(kind: str, name: str, site: Site = site) -> Any:
            return json.loads(site.cluster.kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json"))

        pod = found("deployment", GATEWAY)["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == reference(haproxy)
        fixed = plan(estate).clusters[site.name].gateways[NAMESPACE]
        assert found("service", GATEWAY)["spec"]["clusterIPs"] == [str(fixed.ipv4), str(fixed.ipv6)]
        route = found("service", f"gateway-to-{SERVICE}-8080")["spec"]
        assert route["selector"] == {"app.kubernetes.io/name": SERVICE}
        files = next(volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume)
        config = found("configmap", files)["data"]["etc__haproxy__haproxy.cfg"]
        assert "backend desk.human-resources.govcloud\n" in config
        assert f"server gateway-to-{SERVICE}-8080 {route['clusterIP']}:8080\n" in config
    assert "PRIVATE KEY" not in "\n".join([*said, planned.as_text()])
    assert "PRIVATE KEY" not in state_files.checkpoint("platform").read_text()
