"""The approval service and its ingress, rendered for a host: compared with files that an engineer can read.

After a change that is meant, write them anew: GOVCLOUD_GOLDEN=write pytest tests/unit/playbooks/test_render_approval.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from estate.addressing import AddressPlan
from estate.model import Estate, Kind
from playbooks.render import approval, ingress
from playbooks.secrets import Certificate, Passwords, Secrets
from tests import golden

ROLES = Path(__file__).parents[3] / "playbooks" / "roles"
SECRETS = Secrets(
    authority="AUTHORITY",
    certificates={"futian-kube1": Certificate(cert="CERTIFICATE", key="KEY")},
    passwords=Passwords(replication="REPLICATION", approval_owner="OWNERPASSWORD", approval_app="APPPASSWORD"),
)


@pytest.mark.parametrize("host", ["futian-kube1", "shaoguan-kube1"])
def test_the_ingress_is_the_golden_one(estate: Estate, addresses: AddressPlan, host: str) -> None:
    """Anycast and own addresses, the way to the primary, the members of the own site."""
    golden.same(ingress.config_text(estate, addresses, estate.host(host)), f"ingress/{host}.haproxy.cfg")


def test_the_service_is_the_golden_one(estate: Estate, addresses: AddressPlan) -> None:
    """Unit and settings."""
    golden.same(approval.UNIT_TEXT, "approval/unit.service")
    host = estate.host("nanshan-kube1")
    golden.same(approval.service_environment(estate, host, SECRETS), "approval/nanshan-kube1.service.env")
    golden.same(approval.owner_environment(estate, addresses, SECRETS), "approval/owner.env")


def test_exactly_one_host_prepares_the_database_and_only_it_holds_the_owners_password(
    estate: Estate, addresses: AddressPlan
) -> None:
    """And no password is in a file whose text may be shown."""
    hosts = [host for host in estate.own_hosts if host.kind is Kind.KUBE]
    inputs = {host.name: approval.role_input(estate, addresses, host, SECRETS) for host in hosts}
    assert [name for name, role in inputs.items() if role.settings["prepare"]] == ["futian-kube1"]
    for name, role in inputs.items():
        held = any("OWNERPASSWORD" in file.text for file in role.files)
        assert held == (name == "futian-kube1")
        for file in role.files:
            assert file.secret == ("PASSWORD" in file.text)
            assert not file.secret or file.mode == "0600"


def test_an_estate_that_is_no_lab_gets_no_synthetic_people(estate: Estate, addresses: AddressPlan) -> None:
    """Neither in the registers nor at the door."""
    real = estate.model_copy(update={"lab": False})
    host = real.host("futian-kube1")
    assert approval.role_input(real, addresses, host, SECRETS).settings["people"] == 0
    assert "APPROVAL_SYNTHETIC=0" in approval.service_environment(real, host, SECRETS)
    assert approval.role_input(estate, addresses, host, SECRETS).settings["people"] == estate.registers.people


def test_the_ingress_is_checked_before_it_is_installed(estate: Estate, addresses: AddressPlan) -> None:
    """And reloaded, not restarted: citizens' connections stay."""
    (file,) = ingress.role_input(estate, addresses, estate.host("futian-kube1"), SECRETS).files
    assert file.validate == "haproxy -c -f %s"
    assert file.notify == ("reload:haproxy.service",)


def test_a_renewed_certificate_reloads_the_ingress(estate: Estate, addresses: AddressPlan) -> None:
    """The configuration names the certificate it was loaded with, and never holds its key."""
    host = estate.host("futian-kube1")
    renewed = replace(SECRETS, certificates={host.name: Certificate(cert="RENEWED", key="KEY")})
    (before,), (after,) = (ingress.role_input(estate, addresses, host, each).files for each in (SECRETS, renewed))
    assert before.text != after.text
    assert "KEY" not in after.text


@pytest.mark.parametrize("role", ["approval", "ingress"])
def test_settings_are_those_the_role_declares(estate: Estate, addresses: AddressPlan, role: str) -> None:
    """Names on both sides of the seam are the same."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    declared = specs["argument_specs"]["main"]["options"][f"{role}_settings"].get("options", {})
    host = estate.host("futian-kube1")
    given = (
        approval.role_input(estate, addresses, host, SECRETS)
        if role == "approval"
        else ingress.role_input(estate, addresses, host, SECRETS)
    )
    assert set(given.settings) == set(declared)
