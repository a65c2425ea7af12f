"""Changes of objects: which differences count, and which replace the object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pulumi.provider.experimental.provider import PropertyDiffKind

from stacks.providers.kubernetes import field_ownership, immutable_fields, object_diff, objects, quantities
from stacks.providers.kubernetes.objects import Kind

ADD, DELETE, UPDATE = PropertyDiffKind.ADD, PropertyDiffKind.DELETE, PropertyDiffKind.UPDATE
LEAVES = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(("", "1", "1Gi"))
JSON = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.sampled_from(("a", "a.b", "limits")), LEAVES)


def kinds(found: dict[str, Any], wanted: dict[str, Any], **more: Any) -> dict[str, PropertyDiffKind]:
    frozen, former = more.get("frozen", ()), more.get("former", {})
    differences = object_diff.differences(found, wanted, former, frozen, more.get("ignored", ()))
    return {path: diff.kind for path, diff in differences.items()}


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(("spec", "data", "kind")), JSON))
def test_equal_values_are_no_change(value: dict[str, Any]) -> None:
    assert kinds(value, value) == {}
    assert objects.prune(value, value) == value


def test_changes_are_reported_by_path() -> None:
    found = {"spec": {"ports": [{"port": 80}], "type": "A"}, "data": {"a.b": "1"}}
    wanted = {"spec": {"ports": [{"port": 81}, {"port": 82}]}, "data": {"a.b": "2"}}
    assert kinds(found, wanted) == {
        "spec.ports[0].port": UPDATE,
        "spec.ports[1]": ADD,
        "spec.type": DELETE,
        'data["a.b"]': UPDATE,
    }


def test_ignored_paths_are_not_compared() -> None:
    found, wanted = {"spec": {"a": {"b": 1}, "ab": 1}}, {"spec": {"a": {"b": 2}, "ab": 2}}
    assert kinds(found, wanted, ignored=("spec.a",)) == {"spec.ab": UPDATE}


def test_an_empty_field_that_the_server_drops_is_a_change_only_when_it_is_new() -> None:
    """An empty selector selects everything, so its declaration is a change."""
    assert kinds({}, {"selector": {}}) == {"selector": ADD}
    assert kinds({}, {"selector": {}}, former={"selector": {}}) == {}


def test_only_of_a_variable_the_server_drops_an_empty_text() -> None:
    """Otherwise `drift` reports the variable for ever. A ConfigMap keeps an empty text, so its removal is reported."""
    found, wanted = {"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": ""}]}
    assert kinds(found, wanted, former=wanted) == {}
    assert kinds(found, {"env": [{"name": "A", "value": "b"}]}, former=wanted) == {"env[0].value": ADD}
    assert kinds({"data": {}}, {"data": {"a": ""}}, former={"data": {"a": ""}}) == {"data.a": ADD}


@pytest.mark.parametrize(
    ("path", "one", "other", "same"),
    [
        (("limits", "cpu"), "0.5", "500m", True),
        (("limits", "memory"), "1024Mi", "1Gi", True),
        (("hard", "pods"), 4, "4", True),
        (("requests", "storage"), "1e3", "1k", True),
        (("emptyDir", "sizeLimit"), "1000Mi", "1Gi", False),
        (("limits", "cpu"), "500m", "600m", False),
        (("limits", "cpu"), "some", "some", False),
        (("data", "size"), "1024Mi", "1Gi", False),
    ],
)
def test_quantities_are_compared_by_value_at_their_paths(path: Any, one: Any, other: Any, same: bool) -> None:
    """A ConfigMap's text is not a quantity."""
    assert quantities.same(path, one, other) is same


@pytest.mark.parametrize(
    ("obj", "path", "replaces"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, ("spec", "selector", "matchLabels", "a"), True),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, ("spec", "replicas"), False),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, ("metadata", "name"), True),
        ({"apiVersion": "v1", "kind": "Pod"}, ("spec", "containers", 1, "image"), True),
        ({"apiVersion": "v1", "kind": "Pod"}, ("spec", "activeDeadlineSeconds"), False),
        ({"apiVersion": "batch/v1", "kind": "Job"}, ("spec", "template", "spec"), True),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, ("data", "a"), True),
        ({"apiVersion": "v1", "kind": "Secret"}, ("data", "a"), True),
        ({"apiVersion": "v1", "kind": "Secret"}, ("type",), True),
        ({"apiVersion": "v1", "kind": "Service"}, ("spec", "ports", 0), False),
        ({"apiVersion": "example.gov.cn/v1", "kind": "Deployment"}, ("spec", "selector"), False),
    ],
)
def test_immutable_fields_replace(obj: dict[str, Any], path: immutable_fields.Path, replaces: bool) -> None:
    frozen = immutable_fields.fields(obj, config_maps_change=False, secrets_change=False)
    assert immutable_fields.replaces(path, frozen) is replaces


def test_settings_let_config_maps_and_secrets_change_in_place_unless_they_are_frozen() -> None:
    for kind in ("ConfigMap", "Secret"):
        obj: dict[str, Any] = {"apiVersion": "v1", "kind": kind}
        assert not immutable_fields.replaces(
            ("data", "a"), immutable_fields.fields(obj, config_maps_change=True, secrets_change=True)
        )
        frozen = immutable_fields.fields({**obj, "immutable": True}, config_maps_change=True, secrets_change=True)
        assert immutable_fields.replaces(("data", "a"), frozen)


def test_servers_defaults_are_pruned_and_elements_compared_in_their_order() -> None:
    live = {"spec": {"a": 1, "default": 2, "items": [{"x": 1, "d": 0}, {"x": 2}]}, "status": {}}
    assert objects.prune(live, {"spec": {"a": 9, "items": [{"x": 9}]}}) == {"spec": {"a": 1, "items": [{"x": 1}]}}


def test_a_secrets_text_becomes_its_data() -> None:
    """The server stores it so, and a second run must see no change."""
    declared = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "x"}, "data": {"b": "eQ==\n"}}
    assert objects.normalized(declared) == {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}}


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("kubernetes:core/v1:ConfigMap", Kind("", "v1", "ConfigMap")),
        ("kubernetes:apps/v1:Deployment", Kind("apps", "v1", "Deployment")),
        ("kubernetes:example.gov.cn/v1beta1:Permit", Kind("example.gov.cn", "v1beta1", "Permit")),
    ],
)
def test_a_type_names_its_kind(token: str, kind: Kind) -> None:
    assert objects.kind_of_type(token) == kind


@pytest.mark.parametrize("text", ["bureau/web", "web"])
def test_an_id_is_namespace_and_name(text: str) -> None:
    namespace, name = objects.parse_id(text)
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    assert objects.resource_id({"metadata": meta}) == text


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **more}


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}}


def test_manually_changed_fields_become_ours_but_not_other_programs_fields() -> None:
    found = live(
        entry("ours", "Apply", {"f:data": {"f:a": {}}}),
        entry("kubectl-edit", "Update", {"f:data": {"f:b": {}}}),
        entry("scaler", "Update", {"f:spec": {}}),
    )
    taken = field_ownership.taken_over(found, "ours")
    assert taken is not None
    assert [one["manager"] for one in taken] == ["ours", "scaler"]
    assert taken[0]["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}


def test_without_a_manual_change_no_field_is_taken_over() -> None:
    """The status that controllers write under kubectl's name is not ours either."""
    status = entry("kubectl", "Update", {"f:status": {}}, subresource="status")
    assert field_ownership.taken_over(live(entry("ours", "Apply", {}), status), "ours") is None


def test_an_object_is_ours_only_when_we_applied_it() -> None:
    assert field_ownership.ours(live(entry("ours", "Apply", {})), "ours")
    assert not field_ownership.ours(live(entry("ours", "Update", {})), "ours")
    assert not field_ownership.ours(live(entry("kubectl", "Apply", {})), "ours")


def test_the_manager_follows_from_the_resource_and_differs_between_resources() -> None:
    """Only so does the next run recognise an object of a killed run."""
    assert objects.field_manager("urn:a") == objects.field_manager("urn:a") != objects.field_manager("urn:b")


def test_a_quantity_that_means_the_same_is_read_as_it_was_declared() -> None:
    """Otherwise every read of a quota would look like a manual edit. Another amount is reported."""
    declared = {"spec": {"hard": {"limits.memory": "1024Mi", "pods": "4"}}}
    assert objects.prune({"spec": {"hard": {"limits.memory": "1Gi", "pods": "4"}}}, declared) == declared
    grown = {"spec": {"hard": {"limits.memory": "2Gi", "pods": "4"}}}
    assert objects.prune(grown, declared) == grown


def test_kubectl_scale_counts_as_a_manual_change() -> None:
    """`kubectl scale` writes through a subresource, but it sets a declared field."""
    scaled = entry("kubectl", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    taken = field_ownership.taken_over(live(entry("ours", "Apply", {}), scaled), "ours")
    assert taken is not None
    assert [(one["manager"], one["fieldsV1"]) for one in taken] == [("ours", {"f:spec": {"f:replicas": {}}})]
