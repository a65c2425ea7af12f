"""The error for unreachable hosts: it names unreachable sites and the option that excludes them."""

from __future__ import annotations

from estate.loader import load
from stacks.runs import preflight

ESTATE = load()
NO_ROUTE = "no route"


def missing(*names: str) -> dict[str, str]:
    """These hosts are unreachable."""
    return dict.fromkeys(names, NO_ROUTE)


def of(site: str) -> list[str]:
    """Names of the site's hosts."""
    return [host.name for host in ESTATE.hosts_at(site)]


def test_a_dead_site_is_named_with_its_hosts_and_the_flag() -> None:
    error = preflight.unreachable(ESTATE.managed_hosts, missing(*of("shaoguan")))
    assert error.exit_code == 1
    assert "shaoguan does not answer" in error.message
    assert all(name in error.message for name in of("shaoguan"))
    assert NO_ROUTE in error.message
    assert "--without shaoguan " in error.next_step
    assert "nothing was changed" in error.next_step


def test_two_dead_sites_need_two_flags() -> None:
    error = preflight.unreachable(ESTATE.managed_hosts, missing(*of("shaoguan"), *of("futian")))
    assert "--without futian --without shaoguan" in error.next_step


def test_a_single_host_is_named_and_its_site_is_not_called_dead() -> None:
    error = preflight.unreachable(ESTATE.managed_hosts, missing("futian-kube1"))
    assert error.message == f"futian-kube1 is unreachable: {NO_ROUTE}"
    assert "--without futian" in error.next_step


def test_if_all_hosts_are_unreachable_the_network_may_be_the_cause() -> None:
    error = preflight.unreachable(ESTATE.managed_hosts, missing(*(host.name for host in ESTATE.managed_hosts)))
    assert "--without" not in error.next_step
    assert "management network" in error.next_step
