"""What people read of a step: the very lines, and never a secret."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pulumi.automation.events import DiagnosticEvent, PropertyDiff, StepEventMetadata

from stacks import events


def step(op: str, old: dict[str, Any] | None, new: dict[str, Any] | None, kind: str = "Playbook") -> StepEventMetadata:
    """A step as the engine tells it; `old` are outputs, `new` inputs."""
    return cast(
        StepEventMetadata,
        SimpleNamespace(
            op=op,
            urn=f"urn:pulumi:network::govcloud::govcloud:index:{kind}::network-futian-edge1",
            type=f"govcloud:index:{kind}",
            old=SimpleNamespace(outputs=old, inputs=old, protect=True) if old is not None else None,
            new=SimpleNamespace(outputs=new, inputs=new, protect=True) if new is not None else None,
            detailed_diff={},
        ),
    )


def host(text: str, **more: Any) -> dict[str, Any]:
    """Properties of an edge with one file."""
    return {"host": "futian-edge1", "files": {"/etc/frr/frr.conf": {"text": text, "mode": "0640"}}, **more}


def test_an_update_shows_the_lines_that_change_on_the_router() -> None:
    """As a unified diff from the host's text to the declared one."""
    change = events.change_of("network", step("update", host("a\nb\n"), host("a\nc\n")))
    assert change
    assert change.host == "futian-edge1"
    assert change.diffs["/etc/frr/frr.conf"].splitlines()[-2:] == ["-b", "+c"]
    assert change.guarded


def test_a_secret_is_named_without_its_text() -> None:
    """The engine tells only its place."""
    found = step("update", host("a", secrets="[secret]"), host("a", secrets="[secret]"))
    found.detailed_diff = {'secrets["file /etc/govcloud/pki/host.key"]': cast(PropertyDiff, None)}
    change = events.change_of("network", found)
    assert change
    assert change.diffs == {}
    assert change.details == ("file /etc/govcloud/pki/host.key: secret, another content",)


def test_a_stopped_unit_is_named_with_both_states() -> None:
    """From what is to what shall be."""
    change = events.change_of(
        "network",
        step(
            "update",
            host("a", units={"frr.service": {"active": False}}),
            host("a", units={"frr.service": {"active": True}}),
        ),
    )
    assert change
    assert change.details == ("unit frr.service: active False -> True",)


def test_a_setting_of_running_software_is_named_with_both_values() -> None:
    """No input shows it: it stands in no file."""
    told = {"setting Patroni's ttl: value": "Patroni's ttl: value is 60, wanted 20"}
    change = events.change_of("data", step("update", host("a", differences=told), host("a")))
    assert change
    assert change.details == ("Patroni's ttl: value is 60, wanted 20",)


def test_unchanged_and_refreshed_steps_are_no_changes() -> None:
    """Only what an update does counts."""
    for op in ("same", "refresh", "read"):
        assert events.change_of("network", step(op, host("a"), host("a"))) is None


def test_drift_is_told_by_host() -> None:
    """A read without findings tells nothing."""
    found = step(
        "refresh", host("a"), host("b", differences={"unit frr.service: active": "frr.service: active is False"})
    )
    assert events.drift_of(found) == ("futian-edge1", ("frr.service: active is False",))
    assert events.drift_of(step("refresh", host("a"), host("a"))) is None


def test_faults_read_as_sentences() -> None:
    """No transport codes, no colour marks, no repetition that there was an error."""

    def faults(message: str) -> tuple[str, ...]:
        return events.faults_of(cast(DiagnosticEvent, SimpleNamespace(severity="error", message=message)))

    assert faults("<{%reset%}>rpc error: code = Unknown desc = futian-edge1: role frr failed<{%reset%}>\n") == (
        "futian-edge1: role frr failed",
    )
    assert faults("update failed") == ()
    many = "2 errors occurred:\n\t* Refresh failed: a: refused\n\t* update failed\n\t* b: refused\n"
    assert faults(many) == ("a: refused", "b: refused")
