"""A host's input as properties: the conversion loses nothing and refuses contradicting roles."""

from __future__ import annotations

import pytest

from playbooks.host_spec import Account, File, HostSpec, RoleSpec, Unit
from stacks.providers.serialization import Contradiction, host_spec, properties
from stacks.providers.values import Hidden, plain_map, to_properties

FULL = HostSpec(
    host="futian-edge1",
    address="10.127.0.11",
    roles=(
        RoleSpec(
            role="frr",
            settings={"asn": 4200000001, "restart": False, "peers": ["a", "b"]},
            files=(
                File(
                    path="/etc/frr/frr.conf",
                    text="router bgp\n",
                    validate="vtysh -C -f %s",
                    notify=("reload:frr.service",),
                ),
                File(path="/etc/frr/daemons", text="bgpd=yes\n"),
            ),
            units=(Unit(name="frr.service"),),
            live=("frr-settings", "--compare"),
            sysctls={"net.ipv4.ip_forward": "1"},
            accounts=(Account(name="operator", groups=("adm",), keys=("ssh-ed25519 AAAA",)),),
        ),
        RoleSpec(role="nftables", files=(File(path="/etc/nftables.conf", text="flush ruleset\n", secret=True),)),
    ),
)


def test_an_input_survives_the_way_through_the_engine() -> None:
    """The order of roles and of their items, the types and the texts stay the same."""
    sent = to_properties(properties(FULL, instance="lab-1"))
    assert host_spec(plain_map(sent)) == FULL


def test_an_inserted_file_is_one_difference() -> None:
    """Files are stored by path, so a new first file shifts no other file."""
    before = properties(FULL, instance="lab-1")["files"]
    assert set(before) == {"/etc/frr/frr.conf", "/etc/frr/daemons", "/etc/nftables.conf"}


def test_two_roles_with_different_content_for_one_file_are_refused() -> None:
    """The message names host, role and file."""
    twice = HostSpec(
        host="h",
        address="10.0.0.1",
        roles=(
            RoleSpec(role="one", files=(File(path="/etc/x", text="1"),)),
            RoleSpec(role="two", files=(File(path="/etc/x", text="2"),)),
        ),
    )
    with pytest.raises(Contradiction, match="h: files of role two: /etc/x"):
        properties(twice, instance="lab-1")


def test_secret_texts_are_only_in_the_secrets() -> None:
    """This holds for a file marked as secret, and for unmarked settings and files that contain a known secret."""
    role = RoleSpec(
        role="postgresql",
        settings={"dsn": ["user=app password=hunter2"]},
        files=(File(path="/etc/key", text="PRIVATE", secret=True), File(path="/etc/conf", text="pass: hunter2\n")),
    )
    values = properties(
        HostSpec(host="h", address="10.0.0.1", roles=(role,)), instance="x", secret=frozenset({"hunter2"})
    )
    hidden = values.pop("secrets")
    assert set(hidden) == {"file /etc/key", "file /etc/conf", "settings postgresql"}
    assert not any(text in str(values) for text in ("hunter2", "PRIVATE"))
    again = host_spec({**values, "secrets": hidden}).roles[0]
    assert (again.settings, again.files[0].text, again.files[1].text) == (role.settings, "PRIVATE", "pass: hunter2\n")


def test_the_same_unit_in_two_roles_is_one_unit() -> None:
    """Equal declarations do not contradict each other."""
    roles = tuple(RoleSpec(role=name, units=(Unit(name="nftables.service"),)) for name in ("one", "two"))
    values = properties(HostSpec(host="h", address="10.0.0.1", roles=roles), instance="lab-1")
    assert list(values["units"]) == ["nftables.service"]


def test_a_hidden_value_is_sent_as_a_secret_and_never_printed() -> None:
    """The representation of `Hidden` does not show the value."""
    sent = to_properties({"key": Hidden("s3cret")})
    assert sent["key"].is_secret
    assert "s3cret" not in repr(Hidden("s3cret"))
