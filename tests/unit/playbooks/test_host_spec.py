"""A host's spec: each item by its name, secrets apart, contradicting roles refused, settings as declared."""

from __future__ import annotations

import json
import re

import pytest

from playbooks import install_hash, role_settings
from playbooks.host_programs import managed
from playbooks.host_spec import Account, Contradiction, File, RoleSpec, Unit, keyed, settings_of
from playbooks.install_hash import role_names
from stacks.providers.values import Hidden, plain_map, to_properties

ROLES = (
    RoleSpec(
        role="frr",
        settings={"asn": 4200000001, "restart": False, "peers": ["a", "b"]},
        files=(
            File(
                path="/etc/frr/frr.conf", text="router bgp\n", validate="vtysh -C -f %s", notify=("reload:frr.service",)
            ),
            File(path="/etc/frr/daemons", text="bgpd=yes\n"),
        ),
        units=(Unit(name="frr.service"),),
        live=("frr-settings", "--compare"),
        sysctls={"net.ipv4.ip_forward": "1"},
        accounts=(Account(name="operator", groups=("adm",), keys=("ssh-ed25519 AAAA",)),),
    ),
    RoleSpec(role="nftables", files=(File(path="/etc/nftables.conf", text="flush ruleset\n", secret=True),)),
)


def test_a_spec_has_exactly_the_form_that_is_in_the_engines_state() -> None:
    """Another form would show a difference for each host of a live estate."""
    file = {"owner": "root", "group": "root", "mode": "0644", "secret": False, "validate": "", "notify": []}
    assert keyed("futian-edge1", "10.127.0.11", ROLES) == {
        "host": "futian-edge1",
        "address": "10.127.0.11",
        "roles": [
            {
                "role": "frr",
                "settings": {"asn": 4200000001, "restart": False, "peers": ["a", "b"]},
                "files": ["/etc/frr/frr.conf", "/etc/frr/daemons"],
                "units": ["frr.service"],
                "sysctls": ["net.ipv4.ip_forward"],
                "accounts": ["operator"],
                "live": ["frr-settings", "--compare"],
            },
            {
                "role": "nftables",
                "settings": {},
                "files": ["/etc/nftables.conf"],
                "units": [],
                "sysctls": [],
                "accounts": [],
            },
        ],
        "files": {
            "/etc/frr/frr.conf": {
                **file,
                "text": "router bgp\n",
                "validate": "vtysh -C -f %s",
                "notify": ["reload:frr.service"],
            },
            "/etc/frr/daemons": {**file, "text": "bgpd=yes\n"},
            "/etc/nftables.conf": {**file, "text": "", "secret": True},
        },
        "units": {"frr.service": {"enabled": True, "active": True}},
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "accounts": {
            "operator": {
                "groups": ["adm"],
                "shell": "/usr/sbin/nologin",
                "home": "/nonexistent",
                "keys": ["ssh-ed25519 AAAA"],
            }
        },
        "secrets": {"file /etc/nftables.conf": "flush ruleset\n"},
    }


def test_a_spec_survives_the_way_through_the_engine() -> None:
    """The order of roles and of their items, the types and the texts stay the same."""
    spec = keyed("futian-edge1", "10.127.0.11", ROLES)
    again = plain_map(to_properties(spec))
    assert json.dumps(again) == json.dumps(spec)


def test_two_roles_with_different_content_for_one_file_are_refused() -> None:
    """The message names host, role and file."""
    twice = (
        RoleSpec(role="one", files=(File(path="/etc/x", text="1"),)),
        RoleSpec(role="two", files=(File(path="/etc/x", text="2"),)),
    )
    with pytest.raises(Contradiction, match="h: files of role two: /etc/x"):
        keyed("h", "10.0.0.1", twice)


def test_secret_texts_are_only_in_the_secrets() -> None:
    """This holds for a file marked as secret, and for unmarked settings and files that contain a known secret."""
    role = RoleSpec(
        role="postgresql",
        settings={"dsn": ["user=app password=hunter2"]},
        files=(File(path="/etc/key", text="PRIVATE", secret=True), File(path="/etc/conf", text="pass: hunter2\n")),
    )
    spec = keyed("h", "10.0.0.1", (role,), secret=frozenset({"hunter2"}))
    assert set(spec["secrets"]) == {"file /etc/key", "file /etc/conf", "settings postgresql"}
    assert not any(text in str({**spec, "secrets": {}}) for text in ("hunter2", "PRIVATE"))
    (again,) = managed.roles_of(spec)
    assert [file["text"] for file in again.files.values()] == ["PRIVATE", "pass: hunter2\n"]
    assert settings_of(spec, spec["roles"][0]) == role.settings


def test_the_same_unit_in_two_roles_is_one_unit() -> None:
    """Equal declarations do not contradict each other."""
    roles = tuple(RoleSpec(role=name, units=(Unit(name="nftables.service"),)) for name in ("one", "two"))
    assert list(keyed("h", "10.0.0.1", roles)["units"]) == ["nftables.service"]


def test_a_hidden_value_is_sent_as_a_secret_and_never_printed() -> None:
    """The representation of `Hidden` does not show the value."""
    sent = to_properties({"key": Hidden("s3cret")})
    assert sent["key"].is_secret
    assert "s3cret" not in repr(Hidden("s3cret"))


def test_settings_are_checked_when_a_role_is_rendered() -> None:
    """A missing, unknown or wrongly typed setting would only fail on the host, in the middle of a change."""
    role_settings.check(RoleSpec(role="etcd", settings={"ready_wait_s": 60}))
    role_settings.check(RoleSpec(role="frr"))
    for role, settings in (
        ("etcd", {}),
        ("etcd", {"ready_wait_s": "60"}),
        ("etcd", {"ready_wait_s": 60, "other": 1}),
        ("service_setup", {"commands": "approval.schema apply"}),
        ("frr", {"asn": 1}),
    ):
        with pytest.raises(ValueError, match=f"role {role}: its settings are"):
            role_settings.check(RoleSpec(role=role, settings=settings))


@pytest.mark.parametrize("role", role_names())
def test_declared_settings_are_those_that_the_steps_of_the_role_read(role: str) -> None:
    """A renderer and the steps use the same names."""
    texts = [path.read_text(encoding="utf-8") for path in (install_hash.ROLES / role / "tasks").iterdir()]
    read = {name for text in texts for name in re.findall(rf"\b{role}_settings\.(\w+)", text)}
    assert read == set(role_settings.SETTINGS.get(role, {}))
