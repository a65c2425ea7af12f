"""The Playbook resource: the state after a read, and its differences from the declared inputs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playbooks.compare import Difference
from playbooks.host_spec import File, RoleSpec, Unit, keyed
from stacks.providers.playbook import FOUND, Playbook, actual_state
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.values import Hidden, Properties, plain_map, to_properties, to_property


def inputs(**changed: Any) -> Properties:
    """Return the inputs of a host with a plain file, a secret file and a unit."""
    role = RoleSpec(
        role="frr",
        files=(File(path="/etc/frr/frr.conf", text="router bgp 1\n"), File(path="/etc/key", text="k\n", secret=True)),
        units=(Unit(name="frr.service"),),
        sysctls={"net.ipv4.ip_forward": "1"},
    )
    spec = keyed("futian-edge1", "10.127.0.11", (role,))
    return to_properties({**spec, "instance": "lab-1", "gate": [], "secrets": Hidden(spec["secrets"]), **changed})


def found(kind: str, name: str, aspect: str, wanted: Any, actual: Any) -> Difference:
    """Return one difference of the role frr."""
    return Difference(role="frr", kind=kind, name=name, aspect=aspect, wanted=wanted, actual=actual)


def differing(state: Properties, news: Properties) -> dict[str, str]:
    """Return the kind of difference by path."""
    answer = Playbook().diff(state, news)
    assert answer.changes is bool(answer.detailed_diff)
    return {path: diff.kind.name for path, diff in (answer.detailed_diff or {}).items()}


def test_a_host_as_declared_has_no_difference() -> None:
    """A read without differences does not change the state."""
    assert differing(actual_state(inputs(), ()), inputs()) == {}


def test_the_state_of_an_edited_file_has_the_text_on_the_host() -> None:
    """The state contains the host's text, so that the preview can show the changed lines."""
    state = actual_state(inputs(), (found("file", "/etc/frr/frr.conf", "text", "router bgp 1\n", "router bgp 2\n"),))
    assert plain_map(state)["files"]["/etc/frr/frr.conf"]["text"] == "router bgp 2\n"
    assert differing(state, inputs())['files["/etc/frr/frr.conf"]["text"]'] == "UPDATE"


def test_a_missing_file_is_added_again() -> None:
    """The file is absent from the state, not empty."""
    state = actual_state(inputs(), (found("file", "/etc/frr/frr.conf", "text", "router bgp 1\n", None),))
    assert differing(state, inputs())['files["/etc/frr/frr.conf"]'] == "ADD"


def test_a_changed_secret_file_differs_and_stays_secret() -> None:
    """Only the hash of the file is known, and the state still marks it as secret."""
    state = actual_state(inputs(), (found("file", "/etc/key", "text", "hash-1", "hash-2"),))
    assert state["secrets"].is_secret
    assert differing(state, inputs())['secrets["file /etc/key"]'] == "UPDATE"


def test_a_stopped_unit_and_a_changed_kernel_setting_differ() -> None:
    """Each differs under its own name."""
    state = actual_state(
        inputs(),
        (
            found("unit", "frr.service", "active", True, False),
            found("sysctl", "net.ipv4.ip_forward", "value", "1", "0"),
        ),
    )
    paths = differing(state, inputs())
    assert {'units["frr.service"]["active"]', 'sysctls["net.ipv4.ip_forward"]'} <= paths.keys()


def test_a_difference_without_an_input_still_causes_an_update() -> None:
    """The hash of an install part and a setting of running software have no input of their own."""
    for one in (found("install", "frr", "hash", "new", "old"), found("setting", "Patroni's ttl", "value", 20, 60)):
        state = actual_state(inputs(), (one,))
        assert any(path.startswith(FOUND) for path in differing(state, inputs()))


def test_another_host_is_another_resource() -> None:
    """A changed name replaces the resource. A changed address updates it."""
    answer = Playbook().diff(inputs(), inputs(host="nanshan-edge1"))
    assert answer.replaces == ["host"]
    assert Playbook().diff(inputs(), inputs(address="10.127.0.99")).replaces == []


def test_invalid_inputs_are_reported_before_anything_starts() -> None:
    """The check names a missing input and a relative path."""
    short = inputs()
    del short["address"]
    assert [failure.property for failure in Playbook().check(short)] == ["address"]
    relative = inputs(files=to_property({"etc/x": {"text": ""}}))
    assert "etc/x is not an absolute path" in Playbook().check(relative)[0].reason


def test_an_import_needs_host_and_address() -> None:
    """The error message shows the form HOST@ADDRESS."""
    call = Call(name="x", stack="network", preview=False, timeout_s=0, say=lambda line: None)
    with pytest.raises(ResourceFailed, match="HOST@ADDRESS"):
        asyncio.run(Playbook().read("futian-edge1", {}, {}, call))
