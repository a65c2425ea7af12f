"""The exporter of a data disk's metrics: its hosts, the mounts that it reads, and the clients that may connect.

After an intended change, write the golden files again: run this file with GOVCLOUD_GOLDEN=write.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.addressing import AddressPlan, plan
from estate.field_types import MOUNT
from estate.model import Disk, Estate
from playbooks.render import nftables, node_exporter, scrape_configs
from playbooks.role_assignment import Stack, roles
from tests import golden
from tests.unit.playbooks.clusters import monitoring_hosts

MOUNTS = st.from_regex(r"/(srv|mnt)(/{1,2}[a-z0-9_-]+){1,3}/?", fullmatch=True)
"""Mount points that an estate may have."""


def test_its_files_match_their_golden_files(estate: Estate, addresses: AddressPlan) -> None:
    """The options of Debian's unit, and our additions to the unit."""
    files = {file.path: file for file in node_exporter.role_spec(addresses, estate.host("futian-data1")).files}
    golden.same(files[node_exporter.DEFAULTS_FILE].text, "disks/futian-data1.node-exporter.default")
    golden.same(files[node_exporter.DROP_IN].text, "disks/futian-data1.node-exporter.conf")


def test_it_runs_only_on_hosts_with_a_disk(estate: Estate, addresses: AddressPlan) -> None:
    """A host without a disk has nothing to measure."""
    exporters = {
        host.name
        for host in estate.managed_hosts
        for role in roles(estate, host.name, Stack.NETWORK)
        if role.role == "node_exporter"
    }
    assert exporters == {host.name for host in estate.managed_hosts if host.disk}
    assert 0 < len(exporters) < len(estate.managed_hosts)
    with pytest.raises(ValueError, match="futian-edge1 has no data disk"):
        node_exporter.role_spec(addresses, estate.host("futian-edge1"))


def test_every_monitoring_host_scrapes_each_exporter_at_its_listen_address(
    estate: Estate, addresses: AddressPlan
) -> None:
    """Two sites still see a host that the third cannot reach."""
    listening = set()
    for host in estate.managed_hosts:
        if host.disk:
            text = node_exporter.defaults_text(addresses, host, host.disk)
            listening |= set(re.findall(r"--web\.listen-address=(\S+)", text))
    for monitoring_host in monitoring_hosts(estate):
        (job,) = (
            one for one in scrape_configs.scrape_jobs(estate, addresses, monitoring_host) if one["job_name"] == "disks"
        )
        assert {address for static in job["static_configs"] for address in static["targets"]} == listening


def with_disk(estate: Estate, name: str) -> Estate:
    """Return the estate with a data disk on that host."""
    disk = Disk(size_mib=512, mount="/srv/data")
    hosts = tuple(host.model_copy(update={"disk": disk}) if host.name == name else host for host in estate.hosts)
    return estate.model_copy(update={"hosts": hosts})


@pytest.mark.parametrize("name", ["futian-edge1", "futian-data1"])
def test_a_router_too_admits_only_the_monitoring_hosts(estate: Estate, name: str) -> None:
    """No other host may read the metrics."""
    estate = with_disk(estate, name)
    host, addresses = estate.host(name), plan(estate)
    names = tuple(monitoring_host.name for monitoring_host in monitoring_hosts(estate))
    (opening,) = (one for one in nftables.openings(estate, host) if node_exporter.PORT in one.ports)
    assert (opening.ports, opening.sources) == ((9100,), names)
    (filter_,) = (
        file.text for file in nftables.role_spec(estate, addresses, host).files if file.path == "/etc/nftables.conf"
    )
    of_four = ", ".join(str(addresses.lan(monitoring_host).ipv4) for monitoring_host in names)
    assert f"        ip saddr {{ {of_four} }} tcp dport {{ 9100 }} accept\n" in filter_


@given(mount=MOUNTS, path=st.from_regex(MOUNT, fullmatch=True))
def test_the_exporter_excludes_every_other_mount(mount: str, path: str) -> None:
    """For any name of the mount point and of other mounts."""
    kept = "/" + "/".join(part for part in mount.split("/") if part)
    others = re.compile(node_exporter.all_but(mount))
    assert not others.search(kept)
    for other in {path, "/", f"{kept}/{path}", f"{kept}-old", f"/var{kept}", kept[:-1]} - {kept}:
        assert others.search(other), other
