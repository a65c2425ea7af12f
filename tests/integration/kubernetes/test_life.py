"""The life of objects through the engine: made, unchanged, changed, replaced, repaired, imported, ended."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from tests.integration.kubernetes.conftest import Declare, Desk

SKIP = {"pulumi.com/skipAwait": "true"}


def deployment(desk: Desk, replicas: int = 1, app: str = "web", image: str = "registry.invalid/web:1") -> Declare:
    """A Deployment that nothing waits for; quantities are spelled as people do."""
    limits = {"cpu": "0.5", "memory": "1024Mi"}
    container = {"name": "web", "image": image, "resources": {"limits": limits}}

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": desk.namespace, "annotations": SKIP},
            spec={
                "replicas": replicas,
                "selector": {"matchLabels": {"app": app}},
                "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )

    return declare


def config(desk: Desk, data: dict[str, str], name: str | None = "settings") -> Declare:
    """A ConfigMap; without a name one is made."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        named = {"name": name} if name else {}
        k8s.core.v1.ConfigMap("settings", metadata={"namespace": desk.namespace, **named}, data=data, opts=opts)

    return declare


def test_objects_are_made_shown_and_left_alone(desk: Desk) -> None:
    """A preview makes nothing; a second run changes nothing; `kubectl` sees one clear manager."""
    assert desk.preview(deployment(desk)).changed["create"] == 3
    assert desk.kubectl("get", "deployments", "-o", "name") == ""
    assert desk.up(deployment(desk)).changed["create"] == 3
    managed = json.loads(desk.kubectl("get", "deployment", "web", "-o", "json", "--show-managed-fields"))["metadata"]
    appliers = [entry["manager"] for entry in managed["managedFields"] if entry["operation"] == "Apply"]
    assert len(appliers) == 1
    assert appliers[0].startswith("pulumi-kubernetes-")
    again = desk.up(deployment(desk))
    assert (set(again.changed), again.diffs) == ({"same"}, {})


def test_the_state_has_the_official_plugins_form(desk: Desk) -> None:
    """Type, ID, inputs, outputs and the three fields beside them."""
    desk.up(deployment(desk))
    found = desk.resources()["web"]
    assert (found["type"], found["id"]) == ("kubernetes:apps/v1:Deployment", f"{desk.namespace}/web")
    outputs = found["outputs"]
    assert outputs["__initialApiVersion"] == "apps/v1"
    assert outputs["__fieldManager"].startswith("pulumi-kubernetes-")
    assert outputs["__inputs"] == found["inputs"]
    assert outputs["metadata"]["uid"] == desk.uid("deployment", "web")
    limits = found["inputs"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "0.5", "memory": "1024Mi"}


def test_a_change_is_shown_by_its_path_and_made_in_place(desk: Desk) -> None:
    """The object stays the same incarnation."""
    desk.up(deployment(desk))
    before = desk.uid("deployment", "web")
    assert desk.preview(deployment(desk, replicas=3)).diffs["web"] == {"spec.replicas": "update"}
    assert desk.up(deployment(desk, replicas=3)).changed["update"] == 1
    assert desk.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    assert desk.uid("deployment", "web") == before


def test_an_immutable_field_replaces(desk: Desk) -> None:
    """The named object is deleted first, then made anew."""
    desk.up(deployment(desk))
    before = desk.uid("deployment", "web")
    shown = desk.preview(deployment(desk, app="other"))
    assert shown.diffs["web"]["spec.selector.matchLabels.app"] == "update-replace"
    made = desk.up(deployment(desk, app="other"))
    assert made.changed.get("replace") == 1, made.faults
    assert desk.uid("deployment", "web") != before


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


@pytest.mark.parametrize("kind", REPLACED)
def test_a_replacement_is_shown_in_whatever_words_the_server_refuses_the_change(desk: Desk, kind: str) -> None:
    """The old object is still there in a preview, and each kind says differently that it cannot become the new one."""
    made, before, after = REPLACED[kind]

    def declare(spec: dict[str, Any]) -> Declare:
        place = {"name": "web", "namespace": desk.namespace, "annotations": SKIP}
        return lambda opts: made("web", metadata=place, spec=spec, opts=opts)

    first = desk.up(declare(before))
    assert not first.failed, first.faults
    uid = desk.uid(kind, "web")
    shown = desk.preview(declare(after))
    assert (shown.faults, shown.changed.get("replace")) == ([], 1)
    replaced = desk.up(declare(after))
    assert (replaced.faults, replaced.changed.get("replace")) == ([], 1)
    assert desk.uid(kind, "web") != uid


def test_anothers_object_is_refused_even_where_it_could_not_become_ours(desk: Desk) -> None:
    """What nobody has declared is replaced by nobody: the preview says so."""
    made, spec, _ = REPLACED["service"]
    desk.kubectl("create", "service", "clusterip", "web", "--clusterip=10.96.3.5", "--tcp=80")
    place = {"name": "web", "namespace": desk.namespace}
    refused = desk.preview(lambda opts: made("web", metadata=place, spec=spec, opts=opts))
    assert f"{desk.namespace}/web: it exists already, managed by kubectl" in refused.faults[0]


def test_an_object_without_a_name_gets_one_and_its_replacement_another(desk: Desk) -> None:
    """ConfigMaps are replaced when their content changes, the new one before the old one goes."""
    desk.up(config(desk, {"a": "1"}, name=None))
    first = desk.resources()["settings"]["id"]
    assert first.startswith(f"{desk.namespace}/settings-")
    assert set(desk.up(config(desk, {"a": "1"}, name=None)).changed) == {"same"}
    desk.up(config(desk, {"a": "2"}, name=None))
    second = desk.resources()["settings"]["id"]
    names = desk.kubectl("get", "configmaps", "-o", "name").split()
    assert first != second
    assert f"configmap/{second.split('/')[1]}" in names
    assert f"configmap/{first.split('/')[1]}" not in names


def test_a_hand_edit_is_seen_and_repaired(desk: Desk) -> None:
    """What a hand has changed and what it has added to our fields goes."""
    desk.settings = {"enable_config_map_mutable": True}
    desk.up(config(desk, {"a": "1", "b": "1"}))
    assert desk.drift() == {}
    patch = {"data": {"a": "by hand"}}
    desk.kubectl("patch", "configmap", "settings", "--type=merge", "-p", json.dumps(patch))
    assert desk.drift() == {f"ConfigMap {desk.namespace}/settings": ("data.a: 1 -> by hand",)}
    assert desk.preview(config(desk, {"a": "1", "b": "1"})).diffs["settings"] == {"data.a": "update"}
    repaired = desk.up(config(desk, {"a": "1", "b": "1"}))
    assert repaired.changed.get("update") == 1, repaired.faults
    assert json.loads(desk.kubectl("get", "configmap", "settings", "-o", "json"))["data"] == {"a": "1", "b": "1"}
    desk.up(config(desk, {"b": "1"}))
    assert json.loads(desk.kubectl("get", "configmap", "settings", "-o", "json"))["data"] == {"b": "1"}


def test_an_object_deleted_by_hand_is_made_anew(desk: Desk) -> None:
    """The run that finds it missing also makes it."""
    desk.up(config(desk, {"a": "1"}))
    desk.kubectl("delete", "configmap", "settings")
    assert desk.drift() == {f"ConfigMap {desk.namespace}/settings": ("it is gone",)}
    assert desk.up(config(desk, {"a": "1"})).changed["create"] == 1
    assert desk.uid("configmap", "settings")


def test_an_existing_object_is_refused_then_imported(desk: Desk) -> None:
    """It is never taken over silently; after an import it is ours."""
    desk.kubectl("create", "configmap", "settings", "--from-literal=a=1")
    before = desk.uid("configmap", "settings")
    for refused in (desk.preview(config(desk, {"a": "2"})), desk.up(config(desk, {"a": "2"}))):
        assert f"{desk.namespace}/settings: it exists already, managed by kubectl" in refused.faults[0]
        assert "import_" in refused.faults[0]

    def adopt(opts: pulumi.ResourceOptions) -> None:
        known = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_=f"{desk.namespace}/settings"))
        config(desk, {"a": "1"})(known)

    imported = desk.up(adopt)
    assert imported.changed.get("import") == 1, imported.faults
    desk.settings = {"enable_config_map_mutable": True}
    assert desk.up(config(desk, {"a": "2"})).changed.get("update", 0) >= 1
    assert desk.uid("configmap", "settings") == before


def test_what_has_no_namespace_is_imported_by_its_name_alone(desk: Desk) -> None:
    """And changed in place then, and ended."""
    name = f"{desk.namespace}-reader"
    desk.kubectl("create", "clusterrole", name, "--verb=get", "--resource=pods")
    before = desk.uid("clusterrole", name)

    def role(*verbs: str, **known: str) -> Declare:
        rules = [{"api_groups": [""], "resources": ["pods"], "verbs": list(verbs)}]

        def declare(opts: pulumi.ResourceOptions) -> None:
            merged = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**known))
            k8s.rbac.v1.ClusterRole("reader", metadata={"name": name}, rules=rules, opts=merged)

        return declare

    imported = desk.up(role("get", import_=name))
    assert imported.changed.get("import") == 1, imported.faults
    assert desk.resources()["reader"]["id"] == name
    changed = desk.up(role("get", "list"))
    assert changed.changed.get("update") == 1, changed.faults
    assert desk.kubectl("get", "clusterrole", name, "-o", "jsonpath={.rules[0].verbs}") == '["get","list"]'
    assert desk.uid("clusterrole", name) == before
    assert not desk.destroy().failed
    assert name not in desk.kubectl("get", "clusterroles", "-o", "name")


def test_changes_that_are_to_be_ignored_are_left_alone(desk: Desk) -> None:
    """Whether the program or a hand has made them; all else is still put right."""
    ignored = pulumi.ResourceOptions(ignore_changes=["spec.replicas"])

    def declare(**changes: Any) -> Declare:
        return lambda opts: deployment(desk, **changes)(pulumi.ResourceOptions.merge(opts, ignored))

    def found() -> str:
        path = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}"
        return desk.kubectl("get", "deployment", "web", "-o", path)

    desk.up(declare(replicas=1))
    assert set(desk.up(declare(replicas=3)).changed) == {"same"}
    assert found() == "1 registry.invalid/web:1"
    desk.kubectl("scale", "deployment", "web", "--replicas=5")
    assert set(desk.preview(declare(replicas=3)).changed) == {"same"}
    changed = desk.up(declare(replicas=3, image="registry.invalid/web:2"))
    assert changed.changed.get("update") == 1, changed.faults
    assert found() == "5 registry.invalid/web:2"


def test_get_reads_what_others_own(desk: Desk) -> None:
    """And a program may use it."""
    desk.kubectl("create", "configmap", "theirs", "--from-literal=city=Shenzhen")

    def declare(opts: pulumi.ResourceOptions) -> None:
        theirs = k8s.core.v1.ConfigMap.get("theirs", f"{desk.namespace}/theirs", opts=opts)
        place = {"namespace": desk.namespace, "name": "ours"}
        k8s.core.v1.ConfigMap("ours", metadata=place, data={"copy": theirs.data["city"]}, opts=opts)

    assert not desk.up(declare).failed
    assert desk.kubectl("get", "configmap", "ours", "-o", "jsonpath={.data.copy}") == "Shenzhen"


def test_a_definition_and_its_custom_resource_go_in_one_run(desk: Desk) -> None:
    """The preview knows no such kind yet and shows the inputs; the run waits until it is served."""
    group = f"{desk.namespace}.example.gov.cn"
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
                metadata={"name": "one", "namespace": desk.namespace},
                spec={"size": size},
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[crd])),
            )

        return program

    assert desk.preview(declare(1)).changed["create"] == 4
    made = desk.up(declare(1))
    assert made.changed.get("create") == 4, made.faults
    assert set(desk.up(declare(1)).changed) == {"same"}
    assert desk.up(declare(2)).changed.get("update") == 1
    assert desk.kubectl("get", f"permits.{group}", "one", "-o", "jsonpath={.spec.size}") == "2"
    assert not desk.destroy().failed


def test_what_the_server_only_warns_of_is_told_at_the_resource(desk: Desk) -> None:
    """Pods that the namespace's level will forbid, and a version that will go; already in the preview."""
    desk.kubectl("label", "namespace", desk.namespace, "pod-security.kubernetes.io/warn=restricted")

    def old(opts: pulumi.ResourceOptions) -> None:
        deployment(desk)(opts)
        k8s.core.v1.Endpoints("old", metadata={"name": "old", "namespace": desk.namespace}, opts=opts)

    for run in (desk.preview(old), desk.up(old)):
        assert not run.failed, run.faults
        for words in (
            f"{desk.namespace}/web: the API server warns: would violate PodSecurity",
            f"{desk.namespace}/old: the API server warns: v1 Endpoints is deprecated",
        ):
            assert any(words in line for line in run.said), run.said


def test_a_field_that_its_kind_does_not_have_is_refused_at_once(desk: Desk) -> None:
    """The server says so with a code of its own trouble, which would be waited for."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        place = {"name": "settings", "namespace": desk.namespace, "colour": "red"}
        k8s.core.v1.ConfigMap("settings", metadata=place, opts=opts)

    refused = desk.preview(declare)
    assert ".metadata.colour: field not declared in schema: correct it and run" in refused.faults[0]


def test_a_cluster_wide_custom_resource_needs_no_namespace(desk: Desk) -> None:
    """Not even when its kind is defined in the same run, so that nobody knew at first."""
    group = f"{desk.namespace}.wide.gov.cn"

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
        # In the foreground its end waits for the garbage collector, which learns of new kinds every 30 s.
        policy = {"pulumi.com/deletionPropagationPolicy": "background"}
        k8s.apiextensions.CustomResource(
            "zone",
            api_version=f"{group}/v1",
            kind="Zone",
            metadata={"name": "one", "annotations": policy},
            opts=after,
        )

    made = desk.up(declare)
    assert not made.failed, made.faults
    assert desk.resources()["zone"]["id"] == "one"
    assert set(desk.up(declare).changed) == {"same"}
    assert not desk.destroy().failed


def test_a_patch_manages_its_fields_only(desk: Desk) -> None:
    """When it goes, the object stays and its fields go."""
    desk.kubectl("create", "configmap", "theirs", "--from-literal=a=1")

    def declare(opts: pulumi.ResourceOptions) -> None:
        place = {"namespace": desk.namespace, "name": "theirs"}
        k8s.core.v1.ConfigMapPatch("addition", metadata=place, data={"b": "2"}, opts=opts)

    patched = desk.up(declare)
    assert not patched.failed, patched.faults
    assert json.loads(desk.kubectl("get", "configmap", "theirs", "-o", "json"))["data"] == {"a": "1", "b": "2"}
    assert not desk.destroy().failed
    assert json.loads(desk.kubectl("get", "configmap", "theirs", "-o", "json"))["data"] == {"a": "1"}


def test_what_is_destroyed_is_gone(desk: Desk) -> None:
    """The run ends when the objects have ended, with all that they own."""
    desk.up(deployment(desk))
    gone = desk.destroy()
    assert not gone.failed, gone.faults
    assert desk.kubectl("get", "deployments,replicasets", "-o", "name") == ""


@pytest.mark.parametrize("field", ["data", "string_data"])
def test_a_secret_stands_nowhere_in_plain_text(desk: Desk, field: str) -> None:
    """Not in the state, not in a preview, not in what is told, whatever its author marked."""
    import base64

    def declare(text: str) -> Declare:
        value = base64.b64encode(text.encode()).decode() if field == "data" else text

        def program(opts: pulumi.ResourceOptions) -> None:
            place = {"namespace": desk.namespace, "name": "login"}
            k8s.core.v1.Secret("login", metadata=place, **{field: {"password": value}}, opts=opts)

        return program

    runs = [desk.preview(declare("first-hunter2")), desk.up(declare("first-hunter2"))]
    runs += [desk.preview(declare("second-hunter2")), desk.up(declare("second-hunter2"))]
    assert not any(run.failed for run in runs)
    changed = base64.b64encode(b"third-hunter2").decode()
    desk.kubectl("patch", "secret", "login", "-p", json.dumps({"data": {"password": changed}}))
    assert desk.drift() == {f"Secret {desk.namespace}/login": ("data.password differs",)}
    runs.append(desk.up(declare("second-hunter2")))
    encoded = desk.kubectl("get", "secret", "login", "-o", "jsonpath={.data.password}")
    assert base64.b64decode(encoded) == b"second-hunter2"
    everything = desk.checkpoint() + "".join(run.printed + "".join(run.said) for run in runs)
    for text in ("first-hunter2", "second-hunter2", "third-hunter2"):
        assert text not in everything
        assert base64.b64encode(text.encode()).decode() not in everything
    assert set(desk.up(declare("second-hunter2")).changed) == {"same"}
