"""The operator's text for a step: the lines that differ, and never a secret."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pulumi.automation.events import DiagnosticEvent, EngineEvent, PropertyDiff, StepEventMetadata

from stacks.runs import events


def step(op: str, old: dict[str, Any] | None, new: dict[str, Any] | None, kind: str = "Playbook") -> StepEventMetadata:
    """A step as the engine reports it. `old` are outputs, `new` are inputs."""
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
    """Properties of an edge router with one file."""
    return {"host": "futian-edge1", "files": {"/etc/frr/frr.conf": {"text": text, "mode": "0640"}}, **more}


def test_an_update_shows_the_lines_that_change_on_the_router() -> None:
    """A unified diff from the host's text to the declared text."""
    change = events.change_of("network", step("update", host("a\nb\n"), host("a\nc\n")))
    assert change
    assert change.host == "futian-edge1"
    assert change.diffs["/etc/frr/frr.conf"].splitlines()[-2:] == ["-b", "+c"]
    assert change.guarded


def test_a_secret_is_named_without_its_text() -> None:
    """The engine reports only its place."""
    found = step("update", host("a", secrets="[secret]"), host("a", secrets="[secret]"))
    found.detailed_diff = {'secrets["file /etc/govcloud/pki/host.key"]': cast(PropertyDiff, None)}
    change = events.change_of("network", found)
    assert change
    assert change.diffs == {}
    assert change.details == ("file /etc/govcloud/pki/host.key: secret content differs",)


def test_a_stopped_unit_is_named_with_both_states() -> None:
    """From the actual state to the declared one."""
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
    """No input shows it, because it is in no file."""
    found = {"setting Patroni's ttl: value": "Patroni's ttl: value is 60, wanted 20"}
    change = events.change_of("data", step("update", host("a", differences=found), host("a")))
    assert change
    assert change.details == ("Patroni's ttl: value is 60, wanted 20",)


def test_unchanged_and_refreshed_steps_are_no_changes() -> None:
    """Only the steps of an update count."""
    for op in ("same", "refresh", "read"):
        assert events.change_of("network", step(op, host("a"), host("a"))) is None


def test_drift_is_reported_by_host() -> None:
    """A refresh without differences reports nothing."""
    found = step(
        "refresh", host("a"), host("b", differences={"unit frr.service: active": "frr.service: active is False"})
    )
    assert events.drift_of(found) == ("futian-edge1", ("frr.service: active is False",))
    assert events.drift_of(step("refresh", host("a"), host("a"))) is None


def test_faults_read_as_sentences() -> None:
    """No transport codes, no colour marks, and no message that names no cause."""

    def errors(message: str) -> tuple[str, ...]:
        return events.errors_of(cast(DiagnosticEvent, SimpleNamespace(severity="error", message=message, urn=None)))

    assert errors("<{%reset%}>rpc error: code = Unknown desc = futian-edge1: role frr failed<{%reset%}>\n") == (
        "futian-edge1: role frr failed",
    )
    assert errors("update failed") == ()
    assert errors("an unhandled error occurred: Resource monitor has terminated, shutting down") == ()
    many = "2 errors occurred:\n\t* Refresh failed: a: refused\n\t* update failed\n\t* b: refused\n"
    assert errors(many) == ("a: refused", "b: refused")


AT_FUTIAN = "urn:pulumi:platform::govcloud::govcloud:sites:futian$"


def an_object(
    op: str,
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    *paths: str,
    kind: str = "kubernetes:core/v1:Secret",
    known: str = "bureau/login",
    below: str = "urn:pulumi:futian::govcloud::",
    unwell: list[str] | None = None,
) -> StepEventMetadata:
    """A step of a Kubernetes object. `old` and `new` are inputs, `unwell` is the reason why it is not ready."""
    states = [
        SimpleNamespace(id=known, inputs=one, init_errors=unwell) if one is not None else None for one in (old, new)
    ]
    return cast(
        StepEventMetadata,
        SimpleNamespace(
            op=op,
            urn=f"{below}{kind}::login",
            type=kind,
            old=states[0],
            new=states[1],
            detailed_diff={path: cast(PropertyDiff, None) for path in paths},
        ),
    )


def test_a_kubernetes_objects_change_lists_its_paths() -> None:
    """With both values, or without values if the path is secret."""
    old, new = {"type": "a", "data": "[secret]"}, {"type": "b", "data": "[secret]"}
    change = events.change_of("futian", an_object("update", old, new, "data.password"))
    assert change
    assert change.resource == "Secret bureau/login"
    assert change.details == ("data.password differs", "type: a -> b")


def test_a_kubernetes_objects_drift_lists_the_differences() -> None:
    """For an object that changed, is missing, is unchanged or is not ready."""
    old = {"data": {"a.b": "1"}}
    changed = events.drift_of(an_object("refresh", old, {"data": {"a.b": "2"}}))
    assert changed == ("Secret bureau/login", ('data["a.b"]: 1 -> 2',))
    assert events.drift_of(an_object("refresh", old, None)) == ("Secret bureau/login", ("it is gone",))
    assert events.drift_of(an_object("refresh", old, old)) is None
    unwell = events.drift_of(an_object("refresh", old, old, unwell=["no pod is ready"]))
    assert unwell == ("Secret bureau/login", ("no pod is ready",))


def test_an_object_is_named_with_its_site_and_its_declared_name() -> None:
    """Three sites have objects of the same name. An object that does not exist yet has no ID."""
    wanted = {"metadata": {"namespace": "bureau", "name": "word"}}
    change = events.change_of("platform", an_object("create", None, wanted, known="", below=AT_FUTIAN))
    assert change
    assert change.resource == "futian: Secret bureau/word"
    gone = events.drift_of(an_object("refresh", wanted, None, below=AT_FUTIAN))
    assert gone == ("futian: Secret bureau/login", ("it is gone",))


def test_an_image_is_named_by_site_name_and_digest() -> None:
    """A new image shows both digests. New credentials show only their name. A missing image is reported as missing."""
    image = {"kind": "govcloud:index:Image", "below": AT_FUTIAN}
    one, other = {"digest": "sha256:1"}, {"digest": "sha256:2"}
    moved = events.change_of("platform", an_object("update", one, other, "digest", **image))
    assert moved
    assert (moved.resource, moved.details) == ("futian: image login", ("sha256:1 -> sha256:2",))
    renewed = events.change_of(
        "platform", an_object("update", one, one, 'identity["cert"]', 'identity["key"]', **image)
    )
    assert renewed
    assert renewed.details == ("identity differs",)
    lost = ("futian: image login", ("it is missing in the registry",))
    assert events.drift_of(an_object("refresh", one, None, **image)) == lost
    assert events.drift_of(an_object("refresh", one, one, **image)) is None


@pytest.mark.parametrize("kind", ["Gate", "Permit"])
def test_a_gate_is_named_by_site_and_service_and_never_drifts(kind: str) -> None:
    step = an_object("update", {"version": "1"}, {"version": "2"}, kind=f"govcloud:index:{kind}", below=AT_FUTIAN)
    step.urn = step.urn.removesuffix("login") + f"approval-{kind.lower()}"
    change = events.change_of("platform", step)
    assert change
    assert (change.resource, change.details) == (f"futian: {kind.lower()} of approval", ())
    assert events.drift_of(step) is None


def test_messages_about_an_object_begin_with_site_and_kind() -> None:
    """Progress and errors. Messages about other resources name the place themselves."""
    urn = f"{AT_FUTIAN}govcloud:stacks:Workload$kubernetes:apps/v1:Deployment::web"
    said = SimpleNamespace(severity="info", ephemeral=True, message="bureau/web: 1 of 2 pods are ready", urn=urn)
    line = events.progress_of(cast(EngineEvent, SimpleNamespace(diagnostic_event=said)))
    assert line == "futian: Deployment bureau/web: 1 of 2 pods are ready"
    failed = SimpleNamespace(severity="error", message="bureau/web: not ready after 3 s", urn=urn)
    assert events.errors_of(cast(DiagnosticEvent, failed)) == ("futian: Deployment bureau/web: not ready after 3 s",)
