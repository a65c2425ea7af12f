"""The Playbook resource: what a read puts into the state, and how that differs from what is declared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playbooks.compare import Difference
from playbooks.host_spec import File, HostSpec, RoleSpec, Unit
from stacks.providers.playbook import FOUND, Playbook, actual_state
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.serialization import properties
from stacks.providers.values import Hidden, Properties, plain_map, to_properties, to_property


def inputs(**changed: Any) -> Properties:
    """Inputs of a host with a plain file, a secret one and a unit."""
    role = RoleSpec(
        role="frr",
        files=(File(path="/etc/frr/frr.conf", text="router bgp 1\n"), File(path="/etc/key", text="k\n", secret=True)),
        units=(Unit(name="frr.service"),),
        sysctls={"net.ipv4.ip_forward": "1"},
    )
    shaped = properties(HostSpec(host="futian-edge1", address="10.127.0.11", roles=(role,)), instance="lab-1")
    return to_properties({**shaped, "gate": {}, "secrets": Hidden(shaped["secrets"]), **changed})


def found(kind: str, name: str, aspect: str, wanted: Any, actual: Any) -> Difference:
    """One finding of the role frr."""
    return Difference(role="frr", kind=kind, name=name, aspect=aspect, wanted=wanted, actual=actual)


def differing(state: Properties, news: Properties) -> dict[str, str]:
    """Paths that differ, with the kind of difference."""
    answer = Playbook().diff(state, news)
    assert answer.changes is bool(answer.detailed_diff)
    return {path: diff.kind.name for path, diff in (answer.detailed_diff or {}).items()}


def test_a_host_as_declared_has_no_difference() -> None:
    """A read that finds nothing leaves the state as it was."""
    assert differing(actual_state(inputs(), ()), inputs()) == {}


def test_an_edited_file_shows_what_is_on_the_host() -> None:
    """The state holds the host's text, so that the preview can show the lines."""
    state = actual_state(inputs(), (found("file", "/etc/frr/frr.conf", "text", "router bgp 1\n", "router bgp 2\n"),))
    assert plain_map(state)["files"]["/etc/frr/frr.conf"]["text"] == "router bgp 2\n"
    assert differing(state, inputs())['files["/etc/frr/frr.conf"]["text"]'] == "UPDATE"


def test_a_missing_file_is_added_again() -> None:
    """It is gone from the state, not empty in it."""
    state = actual_state(inputs(), (found("file", "/etc/frr/frr.conf", "text", "router bgp 1\n", None),))
    assert differing(state, inputs())['files["/etc/frr/frr.conf"]'] == "ADD"


def test_a_changed_secret_file_differs_and_stays_secret() -> None:
    """Only its hash is known here, and the state marks it as secret all the same."""
    state = actual_state(inputs(), (found("file", "/etc/key", "text", "hash-1", "hash-2"),))
    assert state["secrets"].is_secret
    assert differing(state, inputs())['secrets["file /etc/key"]'] == "UPDATE"


def test_a_stopped_unit_and_a_changed_kernel_setting_differ() -> None:
    """Each under its own name."""
    state = actual_state(
        inputs(),
        (
            found("unit", "frr.service", "active", True, False),
            found("sysctl", "net.ipv4.ip_forward", "value", "1", "0"),
        ),
    )
    paths = differing(state, inputs())
    assert {'units["frr.service"]["active"]', 'sysctls["net.ipv4.ip_forward"]'} <= paths.keys()


def test_a_finding_without_an_input_still_makes_an_update() -> None:
    """An install part of another hash has no input of its own, a setting of running software neither."""
    for one in (found("install", "frr", "hash", "new", "old"), found("setting", "Patroni's ttl", "value", 20, 60)):
        state = actual_state(inputs(), (one,))
        assert any(path.startswith(FOUND) for path in differing(state, inputs()))


def test_another_host_is_another_resource() -> None:
    """A changed name replaces; a changed address is an update."""
    answer = Playbook().diff(inputs(), inputs(host="nanshan-edge1"))
    assert answer.replaces == ["host"]
    assert Playbook().diff(inputs(), inputs(address="10.127.0.99")).replaces == []


def test_inputs_that_cannot_be_used_are_told_before_anything_starts() -> None:
    """A missing input and a relative path, each named."""
    short = inputs()
    del short["address"]
    assert [failure.property for failure in Playbook().check(short)] == ["address"]
    relative = inputs(files=to_property({"etc/x": {"text": ""}}))
    assert "etc/x is no absolute path" in Playbook().check(relative)[0].reason


def test_an_import_names_its_form() -> None:
    """By host and address; anything else is told."""
    nobody = Call(name="x", stack="network", preview=False, timeout_s=0, say=lambda line: None)
    with pytest.raises(ResourceFailed, match="HOST@ADDRESS"):
        asyncio.run(Playbook().read("futian-edge1", {}, {}, nobody))
