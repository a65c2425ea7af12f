"""From the official plugin to ours and back: a state that the one has written is the other's as it stands.

The official plugin cannot be had here, so what it leaves is written down as its sources and documents say (version 4,
server-side apply on, which is the default):

* It posts a new object under the field manager `pulumi-kubernetes`; the manager that the state names owns nothing yet.
* Inputs are the declared object in the server's form: quantities in their shortest spelling, `stringData` of a Secret
  as `data`, the provider's namespace. An object without a name gets one and the annotation `pulumi.com/autonamed`.
* Outputs are the live object with its managed fields, and `__inputs`, `__initialApiVersion`, `__fieldManager`.
* Of a definition, fields such as `x-kubernetes-list-type` are kept with underscores.
* A Secret's `data` is secret as a whole; elsewhere what its author marked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import automation as auto

from stacks.runs import workspace
from tests.integration.kubernetes.conftest import STACK, Declare, Desk
from tests.unit.stacks.declared import closing_loops

SKIP = {"pulumi.com/skipAwait": "true"}
SECRET_MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""How the engine marks a secret in a state."""
AUTONAME = "unnamed-5f3c9a1e"


def declared(desk: Desk, tier: str = "") -> Declare:
    """One of each case, as people write them; with a tier two of them differ from what the official plugin left."""
    labels = {"labels": {"tier": tier}} if tier else {}
    limits = {"cpu": "0.5", "memory": "1024Mi"}
    container = {"name": "web", "image": "registry.invalid/web:1", "resources": {"limits": limits}}
    place = {"namespace": desk.namespace}

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.core.v1.ConfigMap(
            "settings",
            metadata={"name": "settings", **place},
            data={"a": "1", "b": pulumi.Output.secret("2")},
            opts=opts,
        )
        k8s.core.v1.ConfigMap("unnamed", metadata=place, data={"a": "1"}, opts=opts)
        k8s.core.v1.Secret("keys", metadata={"name": "keys", **place}, string_data={"key": "hunter2"}, opts=opts)
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "annotations": SKIP, **place, **labels},
            spec={
                "replicas": 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )
        k8s.core.v1.Service(
            "front",
            metadata={"name": "front", "annotations": SKIP, **place},
            spec={"selector": {"tier": tier} if tier else {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            opts=opts,
        )
        k8s.rbac.v1.ClusterRole(
            "reader",
            metadata={"name": f"{desk.namespace}-reader"},
            rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            opts=opts,
        )
        k8s.apiextensions.v1.CustomResourceDefinition(
            "things",
            metadata={"name": f"things.{desk.namespace}.test", "annotations": SKIP},
            spec=definition(desk, dashed=False),
            opts=opts,
        )

    return declare


def definition(desk: Desk, *, dashed: bool) -> dict[str, Any]:
    """A definition's spec, with its dashed fields as the server or as the SDKs name them."""
    keep = "x-kubernetes-preserve-unknown-fields" if dashed else "x_kubernetes_preserve_unknown_fields"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", keep: True}}}}
    return {
        "group": f"{desk.namespace}.test",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }


def official_inputs(desk: Desk) -> dict[str, tuple[str, dict[str, Any]]]:
    """By resource name, type and inputs as the official plugin keeps them; `dashed` fields still as on the server."""
    place, limits = {"namespace": desk.namespace}, {"cpu": "500m", "memory": "1Gi"}
    container = {"name": "web", "image": "registry.invalid/web:1", "resources": {"limits": limits}}
    return {
        "settings": (
            "kubernetes:core/v1:ConfigMap",
            made("v1", "ConfigMap", {"name": "settings", **place}, data={"a": "1", "b": "2"}),
        ),
        "unnamed": (
            "kubernetes:core/v1:ConfigMap",
            made(
                "v1",
                "ConfigMap",
                {"name": AUTONAME, "annotations": {"pulumi.com/autonamed": "true"}, **place},
                data={"a": "1"},
            ),
        ),
        "keys": (
            "kubernetes:core/v1:Secret",
            made("v1", "Secret", {"name": "keys", **place}, data={"key": "aHVudGVyMg=="}),
        ),
        "web": (
            "kubernetes:apps/v1:Deployment",
            made(
                "apps/v1",
                "Deployment",
                {"name": "web", "annotations": SKIP, **place},
                spec={
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
                },
            ),
        ),
        "front": (
            "kubernetes:core/v1:Service",
            made(
                "v1",
                "Service",
                {"name": "front", "annotations": SKIP, **place},
                spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            ),
        ),
        "reader": (
            "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole",
            made(
                "rbac.authorization.k8s.io/v1",
                "ClusterRole",
                {"name": f"{desk.namespace}-reader"},
                rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            ),
        ),
        "things": (
            "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
            made(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                {"name": f"things.{desk.namespace}.test", "annotations": SKIP},
                spec=definition(desk, dashed=True),
            ),
        ),
    }


def made(version: str, kind: str, metadata: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An object."""
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


SECRET_FIELDS = {"keys": ("data",), "settings": ("data", "b")}
"""Where a state's secrets are: the whole content of a Secret, and what the author marked."""


MANAGER = "pulumi-kubernetes-0a1b2c3d"
FIRST_VERSIONS = {"web": "apps/v1beta2"}
"""Of objects that were created when their kind had another version."""


def official_state(name: str, inputs: dict[str, Any], live: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """ID, inputs and outputs as the official plugin keeps them."""
    metadata = live["metadata"]
    identity = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    kept = concealed(name, underscored(inputs))
    outputs = {
        **concealed(name, underscored(live)),
        "__inputs": kept,
        "__initialApiVersion": FIRST_VERSIONS.get(name, inputs["apiVersion"]),
        "__fieldManager": MANAGER,
    }
    return identity, kept, outputs


def concealed(name: str, value: Any) -> Any:
    """With the secret field as the engine writes it where it may not encrypt yet: for an import."""

    def hide(found: Any, path: tuple[str, ...]) -> Any:
        if not path:
            return {**SECRET_MARK, "plaintext": json.dumps(found)}
        return {key: hide(item, path[1:]) if key == path[0] else item for key, item in found.items()}

    return hide(value, SECRET_FIELDS[name]) if name in SECRET_FIELDS else value


def underscored(value: Any) -> Any:
    """With dashed fields of definitions as the SDKs name them."""
    if isinstance(value, Mapping):
        return {
            key.replace("-", "_") if key.startswith("x-kubernetes-") else key: underscored(item)
            for key, item in value.items()
        }
    return [underscored(item) for item in value] if isinstance(value, list) else value


def live(desk: Desk, kind: str, name: str) -> dict[str, Any]:
    """An object as the server has it, with its managed fields."""
    return dict(json.loads(desk.kubectl("get", kind, name, "-o", "json", "--show-managed-fields")))


@pytest.fixture
def taken_over(desk: Desk) -> Desk:
    """A desk whose objects and state the official plugin has left behind."""
    desk.up(lambda opts: None)  # the engine's part of the state: the stack, the provider and what encrypts it
    stack = workspace.open_stack(STACK, lambda: None)
    with closing_loops():
        state = stack.export_stack().deployment
    root, provider = state["resources"]
    for name, (token, inputs) in official_inputs(desk).items():
        desk.kubectl("create", "--field-manager=pulumi-kubernetes", "-f", "-", stdin=json.dumps(inputs))
        if name == "things":
            desk.kubectl("wait", "--for=condition=Established", f"crd/{inputs['metadata']['name']}", "--timeout=60s")
        identity, kept, outputs = official_state(name, inputs, live(desk, inputs["kind"], inputs["metadata"]["name"]))
        state["resources"].append(
            {
                "urn": f"{root['urn'].rsplit('::', 2)[0]}::{token}::{name}",
                "custom": True,
                "id": identity,
                "type": token,
                "inputs": kept,
                "outputs": outputs,
                "parent": root["urn"],
                "provider": f"{provider['urn']}::{provider['id']}",
                "propertyDependencies": {key: [] for key in inputs},
            }
        )
    with closing_loops():
        stack.import_stack(auto.Deployment(version=3, deployment=state))
    return desk


def versions(desk: Desk) -> dict[str, str]:
    """What the server counts at each write, of objects that no controller touches."""
    found = official_inputs(desk)
    return {
        name: live(desk, found[name][1]["kind"], found[name][1]["metadata"]["name"])["metadata"]["resourceVersion"]
        for name in ("settings", "unnamed", "keys", "front", "reader")
    }


def test_a_state_of_the_official_plugin_is_ours_as_it_stands(taken_over: Desk) -> None:
    """Preview, refresh and update find nothing to do, and nothing is written to the cluster."""
    before = versions(taken_over)
    shown = taken_over.preview(declared(taken_over))
    assert (shown.faults, set(shown.changed), shown.diffs) == ([], {"same"}, {})
    assert shown.changed["same"] == len(official_inputs(taken_over)) + 2
    assert taken_over.drift() == {}
    run = taken_over.up(declared(taken_over))
    assert (run.faults, set(run.changed), run.diffs) == ([], {"same"}, {})
    assert versions(taken_over) == before
    assert "hunter2" not in taken_over.checkpoint()
    assert "aHVudGVyMg==" not in taken_over.checkpoint()


def test_what_is_no_longer_declared_goes_although_another_manager_set_it(taken_over: Desk) -> None:
    """The fields of the official plugin's posts are taken over with the first change, by the manager in its state."""
    assert taken_over.preview(declared(taken_over, tier="back")).diffs == {
        "front": {"spec.selector.app": "delete", "spec.selector.tier": "add"},
        "web": {"metadata.labels": "add"},
    }
    run = taken_over.up(declared(taken_over, tier="back"))
    assert (run.faults, run.changed["update"]) == ([], 2)
    found = live(taken_over, "service", "front")
    assert found["spec"]["selector"] == {"tier": "back"}
    assert [one["manager"] for one in found["metadata"]["managedFields"]] == [MANAGER]
    kept = taken_over.resources()["web"]["outputs"]
    assert (kept["__fieldManager"], kept["__initialApiVersion"]) == (MANAGER, FIRST_VERSIONS["web"])
    assert set(taken_over.up(declared(taken_over, tier="back")).changed) == {"same"}


def test_a_state_of_ours_has_the_official_plugins_form(desk: Desk) -> None:
    """The same types, IDs, inputs and outputs, and the same fields secret."""
    assert not desk.up(declared(desk)).faults
    found = desk.resources()
    for name, (token, wanted) in official_inputs(desk).items():
        ours = found[name]
        inputs, wanted = ours["inputs"], concealed(name, underscored(wanted))
        if name == "unnamed":
            wanted["metadata"]["name"] = inputs["metadata"]["name"]
            assert inputs["metadata"]["name"].startswith("unnamed-")
        if name == "web":  # ours keeps an author's spelling; both plugins know that it means the same
            limits = inputs["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
            limits.update({"cpu": "500m", "memory": "1Gi"})
        seen = live(desk, wanted["kind"], wanted["metadata"]["name"])
        identity, _, outputs = official_state(name, wanted, seen)
        assert (ours["type"], ours["id"]) == (token, identity)
        assert open_text(inputs) == open_text(wanted)
        assert outputs.keys() == ours["outputs"].keys()
        assert open_text(ours["outputs"]["__inputs"]) == open_text(ours["inputs"]) or name == "web"
        assert ours["outputs"]["__initialApiVersion"] == wanted["apiVersion"]
        assert ours["outputs"]["__fieldManager"].startswith("pulumi-kubernetes-")
        moving = {"metadata", "status"} if name in ("web", "things") else set()  # their controllers are at work
        for field in outputs.keys() - moving - {"__inputs", "__initialApiVersion", "__fieldManager"}:
            assert open_text(ours["outputs"][field]) == open_text(outputs[field]), (name, field)


def open_text(value: Any) -> Any:
    """Where something is secret, only that it is: what it says is encrypted anew each time."""
    if isinstance(value, Mapping):
        return "[secret]" if SECRET_MARK.items() <= value.items() else {k: open_text(v) for k, v in value.items()}
    return [open_text(item) for item in value] if isinstance(value, list) else value
