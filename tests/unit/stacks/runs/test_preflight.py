"""The sentence for hosts that are not reached: sites by name, the flag that leaves them out."""

from __future__ import annotations

from estate.loader import load
from stacks.runs import preflight

ESTATE = load()
NO_ROUTE = "no route"


def missing(*names: str) -> dict[str, str]:
    """None of these is reached."""
    return dict.fromkeys(names, NO_ROUTE)


def of(site: str) -> list[str]:
    """Names of the site's hosts."""
    return [host.name for host in ESTATE.hosts_at(site)]


def test_a_dead_site_is_named_with_its_hosts_and_the_flag() -> None:
    told = preflight.unreachable(ESTATE.managed_hosts, missing(*of("shaoguan")))
    assert told.exit_code == 1
    assert "shaoguan does not answer" in told.message
    assert all(name in told.message for name in of("shaoguan"))
    assert NO_ROUTE in told.message
    assert "--without shaoguan " in told.next_step
    assert "nothing was changed" in told.next_step


def test_two_dead_sites_need_two_flags() -> None:
    told = preflight.unreachable(ESTATE.managed_hosts, missing(*of("shaoguan"), *of("futian")))
    assert "--without futian --without shaoguan" in told.next_step


def test_a_single_host_is_named_and_its_site_is_not_called_dead() -> None:
    told = preflight.unreachable(ESTATE.managed_hosts, missing("futian-kube1"))
    assert told.message == f"futian-kube1 is not reached: {NO_ROUTE}"
    assert "--without futian" in told.next_step


def test_without_any_host_no_site_is_blamed() -> None:
    told = preflight.unreachable(ESTATE.managed_hosts, missing(*(host.name for host in ESTATE.managed_hosts)))
    assert "--without" not in told.next_step
    assert "management network" in told.next_step
