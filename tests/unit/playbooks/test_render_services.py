"""The services' settings and their ingress, rendered: compared with files that an engineer can read.

After an intended change, write them again: GOVCLOUD_GOLDEN=write pytest tests/unit/playbooks/test_render_services.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from estate.addressing import AddressPlan, plan
from estate.model import Estate, HostRole
from playbooks.render import ingress, postgresql, services
from playbooks.render.pki import AUTHORITY_FILE, BUNDLE_FILE
from playbooks.secrets import Certificate, Secrets
from tests import golden, image_programs
from tests.unit.playbooks.clusters import files_of, switched_on, with_gateway, with_second_node

SECRETS = Secrets(
    authority="AUTHORITY",
    certificates={"futian-kube1": Certificate(cert="CERTIFICATE", key="KEY")},
    passwords={"replication": "REPLICATION", "approval_owner": "OWNERPASSWORD", "approval_app": "APPPASSWORD"},
)

UNPRIVILEGED = "nobody"
"""Account that exists on the machine of the tests."""


@pytest.fixture(scope="module")
def on(estate: Estate) -> Estate:
    """Return the estate with a cluster at every site."""
    return switched_on(estate)


@pytest.mark.parametrize("host", ["futian-kube1", "shaoguan-kube1"])
def test_the_ingress_matches_its_golden_file(on: Estate, host: str) -> None:
    """Anycast and own addresses, the pods, the port to the primary, the members of the own site."""
    golden.same(ingress.config_text(on, plan(on), on.host(host)), f"ingress/{host}.haproxy.cfg")


def test_the_packet_filter_of_the_ingress_matches_its_golden_file(on: Estate) -> None:
    """The database's ports are only for the node's own pods."""
    golden.same(ingress.filter_text(plan(on), on.host("futian-kube1")), "ingress/futian-kube1.60-ingress.nft")


def test_only_a_nodes_own_pods_reach_the_database_on_its_address(on: Estate) -> None:
    """Pods of another node do not: each node has its own ingress. The ports exist only at sites with pods."""
    two = with_second_node(on, "futian")
    files = files_of(two, "futian-kube2")
    own, other = (plan(two).clusters["futian"].nodes[f"futian-kube{n}"] for n in (2, 1))
    assert f"ip saddr {own.ipv4} ip daddr 10.64.1.12 tcp dport" in files[ingress.FILTER_FILE].text
    assert str(other.ipv4) not in files[ingress.FILTER_FILE].text
    assert "bind 10.64.1.12:5432\n" in files[ingress.CONFIG_FILE].text
    off = switched_on(on, "shaoguan")
    config = files_of(off, "futian-kube1")
    assert ingress.FILTER_FILE not in config
    assert "bind 10.64.1.11:5432\n" not in config[ingress.CONFIG_FILE].text


def test_haproxy_itself_accepts_the_ingress_with_and_without_pods(on: Estate, tmp_path: Path) -> None:
    """A site without a cluster has no server in its backend, and answers that it is down.

    A bureau's gateway is added.
    """
    for name, estate in (("with", on), ("without", switched_on(on, "shaoguan")), ("gateway", with_gateway(on))):
        text = ingress.config_text(estate, plan(estate), estate.host("futian-kube1"))
        assert text.count("    server pods ") == {"with": 3, "without": 0, "gateway": 4}[name]
        for old, new in (
            (f" ssl crt {BUNDLE_FILE} alpn h2,http/1.1", ""),
            (f"ca-file {AUTHORITY_FILE}", "ca-file /etc/ssl/certs/ca-certificates.crt"),
            ("user haproxy", f"user {UNPRIVILEGED}"),
            ("group haproxy", "group nogroup"),
        ):
            text = text.replace(old, new)
        path = tmp_path / f"{name}.cfg"
        path.write_text(text, encoding="utf-8")
        image_programs.accepts("haproxy", "-c", "-f", path)


def test_the_settings_match_their_golden_files(estate: Estate, addresses: AddressPlan) -> None:
    """The settings of a pod, and the schema owner's connection."""
    service = estate.service("approval")
    environment = services.pod_environment(estate, service, "nanshan")
    golden.same("".join(f"{key}={value}\n" for key, value in environment.items()), "approval/nanshan.pod.env")
    golden.same(services.owner_environment(estate, addresses, service, SECRETS), "approval/owner.env")


def test_a_pods_settings_refer_to_its_own_fields_and_contain_no_password(estate: Estate) -> None:
    """The library libpq reads the password from the environment, where a Secret puts it."""
    service = estate.service("approval")
    text = str(services.pod_environment(estate, service, "futian"))
    assert f"hostaddr=$({services.NODE})" in text
    assert services.NODE in services.pod_fields(service.contract)
    assert "password=" not in text


@pytest.mark.parametrize("replicas", [1, 2, 3, 6])
def test_all_pods_of_all_sites_leave_the_database_connections_for_others(estate: Estate, replicas: int) -> None:
    """With one pod more at each site during a version change, on a primary that also serves one site's reads."""
    service = estate.service("approval")
    pods = service.pods.model_copy(update={"replicas": dict.fromkeys(service.placement.sites, replicas)})
    environment = services.pod_environment(estate, service.model_copy(update={"pods": pods}), "futian")
    heartbeat = 1
    writes = (
        (int(environment["APPROVAL_WRITE_CONNECTIONS"]) + heartbeat) * (replicas + 1) * len(service.placement.sites)
    )
    reads = int(environment["APPROVAL_READ_CONNECTIONS"]) * (replicas + 1)
    assert writes + reads <= postgresql.MAX_CONNECTIONS - 20


def test_a_host_that_ran_the_service_as_a_unit_stops_it(estate: Estate, addresses: AddressPlan) -> None:
    """Otherwise it would write in parallel with the pods."""
    role = services.role_spec(estate, addresses, estate.host("nanshan-kube1"), SECRETS)
    assert [(unit.name, unit.enabled, unit.active) for unit in role.units] == [
        ("govcloud-approval.service", False, False)
    ]


def test_exactly_one_host_prepares_the_database_and_only_it_has_the_owners_password(
    estate: Estate, addresses: AddressPlan
) -> None:
    """No password is in a file whose text may be shown."""
    hosts = [host for host in estate.managed_hosts if host.kind is HostRole.KUBE]
    inputs = {host.name: services.role_spec(estate, addresses, host, SECRETS) for host in hosts}
    assert [name for name, role in inputs.items() if role.settings["commands"]] == ["futian-kube1"]
    for name, role in inputs.items():
        has_password = any("OWNERPASSWORD" in file.text for file in role.files)
        assert has_password == (name == "futian-kube1")
        for file in role.files:
            assert file.secret == ("PASSWORD" in file.text)
            assert not file.secret or file.mode == "0600"


def test_an_estate_that_is_no_lab_gets_no_synthetic_people(estate: Estate, addresses: AddressPlan) -> None:
    """Neither in the registers nor as clients of the service."""
    real, service = estate.model_copy(update={"lab": False}), estate.service("approval")
    host = real.host("futian-kube1")
    modules = [
        [command["run"][0] for command in services.role_spec(one, addresses, host, SECRETS).settings["commands"]]
        for one in (real, estate)
    ]
    assert modules == [["approval.schema"], ["approval.schema", "approval.registers"]]
    assert services.pod_environment(real, service, "futian")["APPROVAL_SYNTHETIC"] == "0"
    assert services.pod_environment(estate, service, "futian")["APPROVAL_SYNTHETIC"] == "1"
    (_, load) = services.setup_commands(estate, service)
    assert load["run"][2:6] == ["--people", str(estate.registers.people), "--seed", str(estate.registers.seed)]


def test_the_ingress_is_checked_before_it_is_installed(estate: Estate, addresses: AddressPlan) -> None:
    """It is reloaded, not restarted, so citizens' connections stay."""
    role = ingress.role_spec(estate, addresses, estate.host("futian-kube1"), SECRETS)
    file = next(file for file in role.files if file.path == ingress.CONFIG_FILE)
    assert file.validate == "haproxy -c -f %s"
    assert file.notify == ("reload:haproxy.service",)


def test_a_renewed_certificate_reloads_the_ingress(estate: Estate, addresses: AddressPlan) -> None:
    """The configuration contains the hash of the loaded certificate, and never its key."""
    host = estate.host("futian-kube1")
    renewed = replace(SECRETS, certificates={host.name: Certificate(cert="RENEWED", key="KEY")})
    before, after = (ingress.role_spec(estate, addresses, host, each).files[-1] for each in (SECRETS, renewed))
    assert before.path == after.path == ingress.CONFIG_FILE
    assert before.text != after.text
    assert "KEY" not in after.text
