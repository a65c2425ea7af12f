"""The exporter of a data disk's figures: where it runs, what it looks at, and who may ask it.

After a change that is meant, write the golden files anew: run this file with GOVCLOUD_GOLDEN=write.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.addressing import AddressPlan, plan
from estate.field_types import MOUNT
from estate.model import Disk, Estate
from playbooks.host_spec import HostSpec
from playbooks.render import nftables, node_exporter, prometheus, scrape_configs
from playbooks.role_assignment import Stack, host_spec
from tests import golden

MOUNTS = st.from_regex(r"/(srv|mnt)(/{1,2}[a-z0-9_-]+){1,3}/?", fullmatch=True)
"""As an estate may have them."""


def test_its_files_are_the_golden_ones(estate: Estate, addresses: AddressPlan) -> None:
    """The options of Debian's unit, and what its unit lacks."""
    files = {file.path: file for file in node_exporter.role_spec(addresses, estate.host("futian-data1")).files}
    golden.same(files[node_exporter.DEFAULTS_FILE].text, "disks/futian-data1.node-exporter.default")
    golden.same(files[node_exporter.DROP_IN].text, "disks/futian-data1.node-exporter.conf")


def test_it_runs_where_there_is_a_disk_and_nowhere_else(estate: Estate, addresses: AddressPlan) -> None:
    """A host without one has nothing to tell."""
    told = {
        host.name
        for host in estate.managed_hosts
        for role in host_spec(estate, host.name, Stack.NETWORK).roles
        if role.role == "node_exporter"
    }
    assert told == {host.name for host in estate.managed_hosts if host.disk}
    assert 0 < len(told) < len(estate.managed_hosts)
    with pytest.raises(ValueError, match="futian-edge1 has no data disk"):
        node_exporter.role_spec(addresses, estate.host("futian-edge1"))


def test_every_monitoring_host_asks_each_of_them_at_the_address_where_it_listens(
    estate: Estate, addresses: AddressPlan
) -> None:
    """What one site cannot see, the other two still can."""
    listening = set()
    for host in estate.managed_hosts:
        if host.disk:
            text = node_exporter.defaults_text(addresses, host, host.disk)
            listening |= set(re.findall(r"--web\.listen-address=(\S+)", text))
    for monitoring_host in prometheus.monitoring_hosts(estate):
        (job,) = (
            one for one in scrape_configs.scrape_jobs(estate, addresses, monitoring_host) if one["job_name"] == "disks"
        )
        assert {address for static in job["static_configs"] for address in static["targets"]} == listening


def with_disk(estate: Estate, name: str) -> Estate:
    """The estate with a data disk on that host."""
    disk = Disk(size_mib=512, mount="/srv/data")
    hosts = tuple(host.model_copy(update={"disk": disk}) if host.name == name else host for host in estate.hosts)
    return estate.model_copy(update={"hosts": hosts})


@pytest.mark.parametrize("name", ["futian-edge1", "futian-data1"])
def test_the_monitoring_hosts_alone_are_admitted_by_a_router_too(estate: Estate, name: str) -> None:
    """Figures are nobody else's."""
    estate = with_disk(estate, name)
    host, addresses = estate.host(name), plan(estate)
    monitoring_hosts = tuple(monitoring_host.name for monitoring_host in prometheus.monitoring_hosts(estate))
    (opening,) = (one for one in nftables.openings(estate, host) if node_exporter.PORT in one.ports)
    assert (opening.ports, opening.sources) == ((9100,), monitoring_hosts)
    (filter_,) = (
        file.text for file in nftables.role_spec(estate, addresses, host).files if file.path == "/etc/nftables.conf"
    )
    of_four = ", ".join(str(addresses.lan(monitoring_host).ipv4) for monitoring_host in monitoring_hosts)
    assert f"        ip saddr {{ {of_four} }} tcp dport {{ 9100 }} accept\n" in filter_


@given(mount=MOUNTS, path=st.from_regex(MOUNT, fullmatch=True))
def test_the_exporter_leaves_out_every_other_mount(mount: str, path: str) -> None:
    """Whatever a mount point is called, and wherever another one lies."""
    kept = "/" + "/".join(part for part in mount.split("/") if part)
    others = re.compile(node_exporter.all_but(mount))
    assert not others.search(kept)
    for other in {path, "/", f"{kept}/{path}", f"{kept}-old", f"/var{kept}", kept[:-1]} - {kept}:
        assert others.search(other), other


def test_its_input_survives_the_way_through_json(estate: Estate, addresses: AddressPlan) -> None:
    """It is a resource's input."""
    roles = (node_exporter.role_spec(addresses, estate.host("futian-ops1")),)
    value = HostSpec(host="futian-ops1", address="10.127.0.14", roles=roles)
    assert HostSpec.from_dict(value.as_dict()) == value
