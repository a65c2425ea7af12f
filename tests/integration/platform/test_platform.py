"""The first build of the stack `platform`, through the real engine, against real API servers and registries."""

from __future__ import annotations

import re
from collections.abc import Iterable

from estate.model import Estate
from stacks import engine, workspace
from tests.integration.platform.two_sites import (
    CITY,
    DEPLOYMENT,
    PASSWORD,
    REMOTE,
    SERVICE,
    STACK,
    Built,
    kubelets,
    password_in,
    reference,
    up,
)
from workstation.oci import Image


def unfingered(names: Iterable[str]) -> set[str]:
    """Without the fingerprint of what an object holds: keys are made between a first plan and its `up`."""
    return {re.sub("-[0-9a-f]{16}$", "", name) for name in names}


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
    assert unfingered(done.objects_changed) == unfingered(names)
    assert all(site.holds(first) and site.deployed() == reference(first) for site in built.sites)
    assert f"{CITY}: {DEPLOYMENT}: create" in said
    again, said = up(estate, first)
    assert (again.changes, again.objects_changed) == (0, ())
    assert engine.plan(estate, STACK, made=[first]).changes == ()
    assert engine.drift(estate, STACK).differences == {}
    assert password_in(workspace.state_home()) == []
    assert PASSWORD not in "\n".join([*said, planned.as_text()])


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
