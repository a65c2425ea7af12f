"""The life cycle of objects through the engine: create, keep, change, replace, repair, import, delete."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from tests.integration.kubernetes.conftest import Declare, EngineSession

SKIP = {"pulumi.com/skipAwait": "true"}


def deployment(
    session: EngineSession, replicas: int = 1, app: str = "web", image: str = "registry.invalid/web:1"
) -> Declare:
    """Declare a Deployment that the provider does not wait for, with quantities in people's spelling."""
    limits = {"cpu": "0.5", "memory": "1024Mi"}
    container = {"name": "web", "image": image, "resources": {"limits": limits}}

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": session.namespace, "annotations": SKIP},
            spec={
                "replicas": replicas,
                "selector": {"matchLabels": {"app": app}},
                "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )

    return declare


def config(session: EngineSession, data: dict[str, str], name: str | None = "settings") -> Declare:
    """Declare a ConfigMap. Without a name the provider generates one."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        named = {"name": name} if name else {}
        k8s.core.v1.ConfigMap("settings", metadata={"namespace": session.namespace, **named}, data=data, opts=opts)

    return declare


def test_objects_are_previewed_created_and_then_unchanged(session: EngineSession) -> None:
    """A preview creates nothing, a second run changes nothing, and `kubectl` sees one field manager."""
    assert session.preview(deployment(session)).changed["create"] == 3
    assert session.kubectl("get", "deployments", "-o", "name") == ""
    assert session.up(deployment(session)).changed["create"] == 3
    managed = json.loads(session.kubectl("get", "deployment", "web", "-o", "json", "--show-managed-fields"))["metadata"]
    appliers = [entry["manager"] for entry in managed["managedFields"] if entry["operation"] == "Apply"]
    assert len(appliers) == 1
    assert appliers[0].startswith("pulumi-kubernetes-")
    again = session.up(deployment(session))
    assert (set(again.changed), again.diffs) == ({"same"}, {})


def test_the_state_has_the_official_plugins_form(session: EngineSession) -> None:
    """It has the same type, ID, inputs, outputs and three more fields."""
    session.up(deployment(session))
    found = session.resources()["web"]
    assert (found["type"], found["id"]) == ("kubernetes:apps/v1:Deployment", f"{session.namespace}/web")
    outputs = found["outputs"]
    assert outputs["__initialApiVersion"] == "apps/v1"
    assert outputs["__fieldManager"].startswith("pulumi-kubernetes-")
    assert outputs["__inputs"] == found["inputs"]
    assert outputs["metadata"]["uid"] == session.uid("deployment", "web")
    limits = found["inputs"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "0.5", "memory": "1024Mi"}


def test_a_change_is_shown_by_its_path_and_made_in_place(session: EngineSession) -> None:
    """The object keeps its uid."""
    session.up(deployment(session))
    before = session.uid("deployment", "web")
    assert session.preview(deployment(session, replicas=3)).diffs["web"] == {"spec.replicas": "update"}
    assert session.up(deployment(session, replicas=3)).changed["update"] == 1
    assert session.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    assert session.uid("deployment", "web") == before


def test_an_immutable_field_replaces(session: EngineSession) -> None:
    """The named object is deleted first, then created again."""
    session.up(deployment(session))
    before = session.uid("deployment", "web")
    shown = session.preview(deployment(session, app="other"))
    assert shown.diffs["web"]["spec.selector.matchLabels.app"] == "update-replace"
    made = session.up(deployment(session, app="other"))
    assert made.changed.get("replace") == 1, made.errors
    assert session.uid("deployment", "web") != before


POD = {"containers": [{"name": "web", "image": "registry.invalid/web:1"}]}
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": POD}
REPLACED: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "service": (
        k8s.core.v1.Service,
        {"cluster_ip": "10.96.3.3", "ports": [{"port": 80}]},
        {"cluster_ip": "10.96.3.4", "ports": [{"port": 80}]},
    ),
    "pod": (k8s.core.v1.Pod, POD, {**POD, "hostname": "other"}),
    "statefulset": (
        k8s.apps.v1.StatefulSet,
        {"service_name": "one", "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
        {"service_name": "other", "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
    ),
    "job": (
        k8s.batch.v1.Job,
        {"template": {"spec": {**POD, "restartPolicy": "Never"}}},
        {"template": {"spec": {**POD, "restartPolicy": "OnFailure"}}},
    ),
}


@pytest.mark.parametrize(
    "kind", ["pod", *(pytest.param(kind, marks=pytest.mark.nightly) for kind in REPLACED if kind != "pod")]
)
def test_a_replacement_is_previewed_for_every_refusal_text_of_the_server(session: EngineSession, kind: str) -> None:
    """The old object still exists in a preview, and each kind has its own text for the refusal of the change."""
    made, before, after = REPLACED[kind]

    def declare(spec: dict[str, Any]) -> Declare:
        place = {"name": "web", "namespace": session.namespace, "annotations": SKIP}
        return lambda opts: made("web", metadata=place, spec=spec, opts=opts)

    first = session.up(declare(before))
    assert not first.failed, first.errors
    uid = session.uid(kind, "web")
    shown = session.preview(declare(after))
    assert (shown.errors, shown.changed.get("replace")) == ([], 1)
    replaced = session.up(declare(after))
    assert (replaced.errors, replaced.changed.get("replace")) == ([], 1)
    assert session.uid(kind, "web") != uid


@pytest.mark.nightly
def test_another_managers_object_is_refused_even_if_it_would_be_replaced(session: EngineSession) -> None:
    """The provider never replaces an object that no stack declared. The preview reports it."""
    made, spec, _ = REPLACED["service"]
    session.kubectl("create", "service", "clusterip", "web", "--clusterip=10.96.3.5", "--tcp=80")
    place = {"name": "web", "namespace": session.namespace}
    refused = session.preview(lambda opts: made("web", metadata=place, spec=spec, opts=opts))
    assert f"{session.namespace}/web: it exists already, managed by kubectl" in refused.errors[0]


@pytest.mark.nightly
def test_an_object_without_a_name_gets_one_and_its_replacement_another(session: EngineSession) -> None:
    """A ConfigMap with new content is replaced: the new one is created before the old one is deleted."""
    session.up(config(session, {"a": "1"}, name=None))
    first = session.resources()["settings"]["id"]
    assert first.startswith(f"{session.namespace}/settings-")
    assert set(session.up(config(session, {"a": "1"}, name=None)).changed) == {"same"}
    session.up(config(session, {"a": "2"}, name=None))
    second = session.resources()["settings"]["id"]
    names = session.kubectl("get", "configmaps", "-o", "name").split()
    assert first != second
    assert f"configmap/{second.split('/')[1]}" in names
    assert f"configmap/{first.split('/')[1]}" not in names


@pytest.mark.nightly
def test_a_manual_edit_is_found_and_repaired(session: EngineSession) -> None:
    """Manual changes of our fields and manual additions to them are removed."""
    session.settings = {"enable_config_map_mutable": True}
    session.up(config(session, {"a": "1", "b": "1"}))
    assert session.drift() == {}
    patch = {"data": {"a": "by hand"}}
    session.kubectl("patch", "configmap", "settings", "--type=merge", "-p", json.dumps(patch))
    assert session.drift() == {f"ConfigMap {session.namespace}/settings": ("data.a: 1 -> by hand",)}
    assert session.preview(config(session, {"a": "1", "b": "1"})).diffs["settings"] == {"data.a": "update"}
    repaired = session.up(config(session, {"a": "1", "b": "1"}))
    assert repaired.changed.get("update") == 1, repaired.errors
    assert json.loads(session.kubectl("get", "configmap", "settings", "-o", "json"))["data"] == {"a": "1", "b": "1"}
    session.up(config(session, {"b": "1"}))
    assert json.loads(session.kubectl("get", "configmap", "settings", "-o", "json"))["data"] == {"b": "1"}


def test_a_manually_deleted_object_is_created_again(session: EngineSession) -> None:
    """The run that finds it missing also creates it."""
    session.up(config(session, {"a": "1"}))
    session.kubectl("delete", "configmap", "settings")
    assert session.drift() == {f"ConfigMap {session.namespace}/settings": ("it is gone",)}
    assert session.up(config(session, {"a": "1"})).changed["create"] == 1
    assert session.uid("configmap", "settings")


@pytest.mark.nightly
def test_an_existing_object_is_refused_then_imported(session: EngineSession) -> None:
    """It is never taken over silently. After an import it belongs to the stack."""
    session.kubectl("create", "configmap", "settings", "--from-literal=a=1")
    before = session.uid("configmap", "settings")
    for refused in (session.preview(config(session, {"a": "2"})), session.up(config(session, {"a": "2"}))):
        assert f"{session.namespace}/settings: it exists already, managed by kubectl" in refused.errors[0]
        assert "import_" in refused.errors[0]

    def adopt(opts: pulumi.ResourceOptions) -> None:
        known = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_=f"{session.namespace}/settings"))
        config(session, {"a": "1"})(known)

    imported = session.up(adopt)
    assert imported.changed.get("import") == 1, imported.errors
    session.settings = {"enable_config_map_mutable": True}
    assert session.up(config(session, {"a": "2"})).changed.get("update", 0) >= 1
    assert session.uid("configmap", "settings") == before


@pytest.mark.nightly
def test_an_object_without_a_namespace_is_imported_by_its_name(session: EngineSession) -> None:
    """Then it is changed in place and deleted."""
    name = f"{session.namespace}-reader"
    session.kubectl("create", "clusterrole", name, "--verb=get", "--resource=pods")
    before = session.uid("clusterrole", name)

    def role(*verbs: str, **known: str) -> Declare:
        rules = [{"api_groups": [""], "resources": ["pods"], "verbs": list(verbs)}]

        def declare(opts: pulumi.ResourceOptions) -> None:
            merged = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**known))
            k8s.rbac.v1.ClusterRole("reader", metadata={"name": name}, rules=rules, opts=merged)

        return declare

    imported = session.up(role("get", import_=name))
    assert imported.changed.get("import") == 1, imported.errors
    assert session.resources()["reader"]["id"] == name
    changed = session.up(role("get", "list"))
    assert changed.changed.get("update") == 1, changed.errors
    assert session.kubectl("get", "clusterrole", name, "-o", "jsonpath={.rules[0].verbs}") == '["get","list"]'
    assert session.uid("clusterrole", name) == before
    assert not session.destroy().failed
    assert name not in session.kubectl("get", "clusterroles", "-o", "name")


@pytest.mark.nightly
def test_ignored_changes_stay(session: EngineSession) -> None:
    """This holds for changes by the program and manual changes. All other changes are still corrected."""
    ignored = pulumi.ResourceOptions(ignore_changes=["spec.replicas"])

    def declare(**changes: Any) -> Declare:
        return lambda opts: deployment(session, **changes)(pulumi.ResourceOptions.merge(opts, ignored))

    def found() -> str:
        path = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}"
        return session.kubectl("get", "deployment", "web", "-o", path)

    session.up(declare(replicas=1))
    assert set(session.up(declare(replicas=3)).changed) == {"same"}
    assert found() == "1 registry.invalid/web:1"
    session.kubectl("scale", "deployment", "web", "--replicas=5")
    assert set(session.preview(declare(replicas=3)).changed) == {"same"}
    changed = session.up(declare(replicas=3, image="registry.invalid/web:2"))
    assert changed.changed.get("update") == 1, changed.errors
    assert found() == "5 registry.invalid/web:2"


def test_get_reads_objects_of_other_managers(session: EngineSession) -> None:
    """A program may use the values."""
    session.kubectl("create", "configmap", "theirs", "--from-literal=city=Shenzhen")

    def declare(opts: pulumi.ResourceOptions) -> None:
        theirs = k8s.core.v1.ConfigMap.get("theirs", f"{session.namespace}/theirs", opts=opts)
        place = {"namespace": session.namespace, "name": "ours"}
        k8s.core.v1.ConfigMap("ours", metadata=place, data={"copy": theirs.data["city"]}, opts=opts)

    assert not session.up(declare).failed
    assert session.kubectl("get", "configmap", "ours", "-o", "jsonpath={.data.copy}") == "Shenzhen"


@pytest.mark.nightly
def test_a_definition_and_its_custom_resource_are_created_in_one_run(session: EngineSession) -> None:
    """The preview does not know the kind yet and shows the inputs. The run waits until the kind is served."""
    group = f"{session.namespace}.example.gov.cn"
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }

    def declare(size: int) -> Declare:
        def program(opts: pulumi.ResourceOptions) -> None:
            served = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            crd = k8s.apiextensions.v1.CustomResourceDefinition(
                "definition",
                metadata={"name": f"permits.{group}"},
                spec={
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"plural": "permits", "singular": "permit", "kind": "Permit"},
                    "versions": [served],
                },
                opts=opts,
            )
            k8s.apiextensions.CustomResource(
                "permit",
                api_version=f"{group}/v1",
                kind="Permit",
                metadata={"name": "one", "namespace": session.namespace},
                spec={"size": size},
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[crd])),
            )

        return program

    assert session.preview(declare(1)).changed["create"] == 4
    made = session.up(declare(1))
    assert made.changed.get("create") == 4, made.errors
    assert set(session.up(declare(1)).changed) == {"same"}
    assert session.up(declare(2)).changed.get("update") == 1
    assert session.kubectl("get", f"permits.{group}", "one", "-o", "jsonpath={.spec.size}") == "2"
    assert not session.destroy().failed


@pytest.mark.nightly
def test_warnings_of_the_server_are_reported_at_the_resource(session: EngineSession) -> None:
    """Warnings: pods that the namespace's level will forbid, and a removed version. The preview shows them already."""
    session.kubectl("label", "namespace", session.namespace, "pod-security.kubernetes.io/warn=restricted")

    def old(opts: pulumi.ResourceOptions) -> None:
        deployment(session)(opts)
        k8s.core.v1.Endpoints("old", metadata={"name": "old", "namespace": session.namespace}, opts=opts)

    for run in (session.preview(old), session.up(old)):
        assert not run.failed, run.errors
        for words in (
            f"{session.namespace}/web: the API server warns: would violate PodSecurity",
            f"{session.namespace}/old: the API server warns: v1 Endpoints is deprecated",
        ):
            assert any(words in line for line in run.said), run.said


def test_a_field_that_its_kind_does_not_have_is_refused_at_once(session: EngineSession) -> None:
    """The server answers with the code of an internal error, which would otherwise be retried."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        place = {"name": "settings", "namespace": session.namespace, "colour": "red"}
        k8s.core.v1.ConfigMap("settings", metadata=place, opts=opts)

    refused = session.preview(declare)
    assert ".metadata.colour: field not declared in schema: correct it and run" in refused.errors[0]


@pytest.mark.nightly
def test_a_cluster_wide_custom_resource_needs_no_namespace(session: EngineSession) -> None:
    """Not even if its kind is defined in the same run, so that the preview did not know it."""
    group = f"{session.namespace}.wide.gov.cn"

    def declare(opts: pulumi.ResourceOptions) -> None:
        schema = {"openAPIV3Schema": {"type": "object"}}
        crd = k8s.apiextensions.v1.CustomResourceDefinition(
            "definition",
            metadata={"name": f"zones.{group}"},
            spec={
                "group": group,
                "scope": "Cluster",
                "names": {"plural": "zones", "singular": "zone", "kind": "Zone"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
            opts=opts,
        )
        after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[crd]))
        # A foreground deletion waits for the garbage collector, which learns about new kinds every 30 s.
        policy = {"pulumi.com/deletionPropagationPolicy": "background"}
        k8s.apiextensions.CustomResource(
            "zone",
            api_version=f"{group}/v1",
            kind="Zone",
            metadata={"name": "one", "annotations": policy},
            opts=after,
        )

    made = session.up(declare)
    assert not made.failed, made.errors
    assert session.resources()["zone"]["id"] == "one"
    assert set(session.up(declare).changed) == {"same"}
    assert not session.destroy().failed


@pytest.mark.nightly
def test_a_patch_manages_its_fields_only(session: EngineSession) -> None:
    """After the deletion of the patch, the object stays and the patch's fields are removed."""
    session.kubectl("create", "configmap", "theirs", "--from-literal=a=1")

    def declare(opts: pulumi.ResourceOptions) -> None:
        place = {"namespace": session.namespace, "name": "theirs"}
        k8s.core.v1.ConfigMapPatch("addition", metadata=place, data={"b": "2"}, opts=opts)

    patched = session.up(declare)
    assert not patched.failed, patched.errors
    assert json.loads(session.kubectl("get", "configmap", "theirs", "-o", "json"))["data"] == {"a": "1", "b": "2"}
    assert not session.destroy().failed
    assert json.loads(session.kubectl("get", "configmap", "theirs", "-o", "json"))["data"] == {"a": "1"}


def test_destroyed_objects_no_longer_exist(session: EngineSession) -> None:
    """The run ends when the objects and all their dependents are deleted."""
    session.up(deployment(session))
    gone = session.destroy()
    assert not gone.failed, gone.errors
    assert session.kubectl("get", "deployments,replicasets", "-o", "name") == ""


@pytest.mark.parametrize("field", ["data", pytest.param("string_data", marks=pytest.mark.nightly)])
def test_a_secret_is_nowhere_in_plain_text(session: EngineSession, field: str) -> None:
    """It is not in the state, a preview or a message, even if the author did not mark it."""
    import base64

    def declare(text: str) -> Declare:
        value = base64.b64encode(text.encode()).decode() if field == "data" else text

        def program(opts: pulumi.ResourceOptions) -> None:
            place = {"namespace": session.namespace, "name": "login"}
            k8s.core.v1.Secret("login", metadata=place, **{field: {"password": value}}, opts=opts)

        return program

    runs = [session.preview(declare("first-hunter2")), session.up(declare("first-hunter2"))]
    runs += [session.preview(declare("second-hunter2")), session.up(declare("second-hunter2"))]
    assert not any(run.failed for run in runs)
    changed = base64.b64encode(b"third-hunter2").decode()
    session.kubectl("patch", "secret", "login", "-p", json.dumps({"data": {"password": changed}}))
    assert session.drift() == {f"Secret {session.namespace}/login": ("data.password differs",)}
    runs.append(session.up(declare("second-hunter2")))
    encoded = session.kubectl("get", "secret", "login", "-o", "jsonpath={.data.password}")
    assert base64.b64decode(encoded) == b"second-hunter2"
    everything = session.checkpoint() + "".join(run.printed + "".join(run.said) for run in runs)
    for text in ("first-hunter2", "second-hunter2", "third-hunter2"):
        assert text not in everything
        assert base64.b64encode(text.encode()).decode() not in everything
    assert set(session.up(declare("second-hunter2")).changed) == {"same"}
