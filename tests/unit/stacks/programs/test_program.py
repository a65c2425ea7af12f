"""The resources of each stack: hosts, their order, and protection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estate.addressing import plan
from estate.loader import load
from playbooks.render.kubernetes import pki as kubernetes_pki
from stacks.components.hosts import in_order
from stacks.phases import stack_names
from stacks.programs.context import Context
from stacks.programs.program import program
from tests.unit.stacks.declared import declare

ESTATE = load()
CONTEXT = Context(estate=ESTATE, plan=plan(ESTATE), instance="lab-1", operator_keys=("ssh-ed25519 AAAA",))


def test_there_is_one_stack_per_site_for_any_number_of_sites() -> None:
    """Stacks follow the estate, in deployment order."""
    assert stack_names(ESTATE) == ("network", "data", "futian", "nanshan", "shaoguan", "province", "platform")
    fewer = ESTATE.model_copy(update={"sites": ESTATE.sites[:2]})
    assert stack_names(fewer) == ("network", "data", "futian", "nanshan", "province", "platform")


def test_an_unknown_stack_is_refused_with_the_known_ones() -> None:
    """It is refused before any resource is declared."""
    with pytest.raises(KeyError, match="unknown stack 'luohu'; known: network, data, futian"):
        program(CONTEXT, "luohu")


def test_a_live_estate_changes_remote_sites_first_and_routers_before_the_hosts_behind_them() -> None:
    names = [host.name for host in in_order(ESTATE, ESTATE.managed_hosts)]
    assert names[0] == "shaoguan-edge1"
    assert names[4] == "futian-edge1"
    assert [name.split("-")[0] for name in names] == ["shaoguan"] * 4 + ["futian"] * 4 + ["nanshan"] * 4


def test_the_network_stack_configures_all_managed_hosts_and_no_peer() -> None:
    """There is one Playbook per host."""
    recorded = declare(program(CONTEXT, "network"), "network")
    hosts = {recorded.inputs(name)["host"] for name in recorded.names("Playbook")}
    assert hosts == {host.name for host in ESTATE.managed_hosts}


def built(*sites: str) -> Context:
    """A context in which the hosts of these sites are already managed."""
    return replace(CONTEXT, built=frozenset(host.name for site in sites for host in ESTATE.hosts_at(site)))


def test_a_change_goes_host_by_host_and_a_first_build_runs_in_parallel() -> None:
    """In a change each host waits for the one before it. In a first build no host waits."""
    later = declare(program(built("futian", "nanshan", "shaoguan"), "network"), "network")
    names = later.names("Playbook")
    assert [later.depends_on(name) for name in names] == [set(), *({name} for name in names[:-1])]
    first = declare(program(built(), "network"), "network")
    assert all(first.depends_on(name) == set() for name in first.names("Playbook"))


def test_after_a_first_build_that_failed_half_way_the_missing_hosts_are_built_in_parallel() -> None:
    """A single etcd member would wait forever for the others, which wait for it."""
    recorded = declare(program(built("shaoguan"), "data"), "data")
    missing = [name for name in recorded.names("Playbook") if "shaoguan" not in name]
    assert missing
    assert all(
        not any("Playbook" in waited or "data-" in waited for waited in recorded.depends_on(name)) for name in missing
    )


def test_no_host_waits_for_a_host_at_a_dead_site() -> None:
    """The host at the excluded site stays declared, so that its state is kept."""
    context = replace(built("futian", "nanshan", "shaoguan"), without=frozenset({"shaoguan"}))
    recorded = declare(program(context, "network"), "network")
    names = recorded.names("Playbook")
    assert "network-shaoguan-edge1" in names
    waited_for = set().union(*(recorded.depends_on(name) for name in names if "shaoguan" not in name))
    assert not any("shaoguan" in name for name in waited_for)


def test_resources_with_data_are_protected_and_kept() -> None:
    """Authority, passwords, and hosts with etcd or a database. Certificates can be issued again."""
    recorded = declare(program(CONTEXT, "data"), "data")
    for kind in ("Playbook", "Authority", "Password"):
        assert recorded.names(kind)
        assert all(
            recorded.requests[name].protect and recorded.requests[name].retainOnDelete for name in recorded.names(kind)
        )
    assert not any(recorded.requests[name].protect for name in recorded.names("Certificate"))


def test_every_host_every_cluster_and_the_operator_get_certificates() -> None:
    recorded = declare(program(CONTEXT, "data"), "data")
    wanted = {f"certificate-{host.name}" for host in ESTATE.managed_hosts} | {"certificate-operator"}
    for site in (cluster.site for cluster in ESTATE.clusters):
        leaves = (*kubernetes_pki.leaves(ESTATE, CONTEXT.plan, site), *kubernetes_pki.etcd_leaves())
        wanted |= {f"kubernetes-{site}-{leaf.name}" for leaf in leaves}
    assert set(recorded.names("Certificate")) == wanted


def test_keys_are_only_in_the_secrets() -> None:
    """No readable input of a data host contains a key or a password."""
    recorded = declare(program(CONTEXT, "data"), "data")
    for name in recorded.names("Playbook"):
        readable = {key: value for key, value in recorded.inputs(name).items() if key != "secrets"}
        assert "key of certificate" not in str(readable)
        assert "text of password" not in str(readable)
        assert "key of certificate" in str(recorded.inputs(name)["secrets"])


def test_the_province_stack_configures_only_our_own_routers() -> None:
    """It is our half of the link."""
    recorded = declare(program(CONTEXT, "province"), "province")
    hosts = {recorded.inputs(name)["host"] for name in recorded.names("Playbook")}
    assert hosts == {"futian-edge1", "nanshan-edge1", "shaoguan-edge1"}
