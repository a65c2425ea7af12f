"""Switch from the official plugin to ours and back: each provider can use the other one's state unchanged.

The official plugin is not available here. Its results are written down from its sources and documents (version 4,
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
from tests.integration.kubernetes.conftest import STACK, Declare, EngineSession
from tests.unit.stacks.declared import closing_loops

pytestmark = pytest.mark.nightly

SKIP = {"pulumi.com/skipAwait": "true"}
SECRET_MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""How the engine marks a secret in a state."""
AUTONAME = "unnamed-5f3c9a1e"


def declared(session: EngineSession, tier: str = "") -> Declare:
    """Declare one object of each case. With a tier, two of them differ from the official plugin's objects."""
    labels = {"labels": {"tier": tier}} if tier else {}
    limits = {"cpu": "0.5", "memory": "1024Mi"}
    container = {"name": "web", "image": "registry.invalid/web:1", "resources": {"limits": limits}}
    place = {"namespace": session.namespace}

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
            metadata={"name": f"{session.namespace}-reader"},
            rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            opts=opts,
        )
        k8s.apiextensions.v1.CustomResourceDefinition(
            "things",
            metadata={"name": f"things.{session.namespace}.test", "annotations": SKIP},
            spec=definition(session, dashed=False),
            opts=opts,
        )

    return declare


def definition(session: EngineSession, *, dashed: bool) -> dict[str, Any]:
    """Return a definition's spec, with dashed fields as the server names them or as the SDKs name them."""
    keep = "x-kubernetes-preserve-unknown-fields" if dashed else "x_kubernetes_preserve_unknown_fields"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", keep: True}}}}
    return {
        "group": f"{session.namespace}.test",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }


def official_inputs(session: EngineSession) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return type and inputs by resource name, as the official plugin stores them, with the server's dashed fields."""
    place, limits = {"namespace": session.namespace}, {"cpu": "500m", "memory": "1Gi"}
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
                {"name": f"{session.namespace}-reader"},
                rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            ),
        ),
        "things": (
            "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
            made(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                {"name": f"things.{session.namespace}.test", "annotations": SKIP},
                spec=definition(session, dashed=True),
            ),
        ),
    }


def made(version: str, kind: str, metadata: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An object."""
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


SECRET_FIELDS = {"keys": ("data",), "settings": ("data", "b")}
"""Places of secrets in a state: the whole content of a Secret, and the values that the author marked."""


MANAGER = "pulumi-kubernetes-0a1b2c3d"
FIRST_VERSIONS = {"web": "apps/v1beta2"}
"""API versions of objects that were created when their kind had another version."""


def official_state(name: str, inputs: dict[str, Any], live: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """Return ID, inputs and outputs as the official plugin stores them."""
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
    """Return the value with secret fields in the engine's unencrypted form, for an import."""

    def hide(found: Any, path: tuple[str, ...]) -> Any:
        if not path:
            return {**SECRET_MARK, "plaintext": json.dumps(found)}
        return {key: hide(item, path[1:]) if key == path[0] else item for key, item in found.items()}

    return hide(value, SECRET_FIELDS[name]) if name in SECRET_FIELDS else value


def underscored(value: Any) -> Any:
    """Return the value with dashed fields of definitions as the SDKs name them."""
    if isinstance(value, Mapping):
        return {
            key.replace("-", "_") if key.startswith("x-kubernetes-") else key: underscored(item)
            for key, item in value.items()
        }
    return [underscored(item) for item in value] if isinstance(value, list) else value


def live(session: EngineSession, kind: str, name: str) -> dict[str, Any]:
    """Return an object from the server, with its managed fields."""
    return dict(json.loads(session.kubectl("get", kind, name, "-o", "json", "--show-managed-fields")))


@pytest.fixture
def taken_over(session: EngineSession) -> EngineSession:
    """Return a session with objects and a state of the official plugin."""
    session.up(lambda opts: None)  # the engine's part of the state: the stack, the provider and what encrypts it
    stack = workspace.open_stack(STACK, lambda: None)
    with closing_loops():
        state = stack.export_stack().deployment
    root, provider = state["resources"]
    for name, (token, inputs) in official_inputs(session).items():
        session.kubectl("create", "--field-manager=pulumi-kubernetes", "-f", "-", stdin=json.dumps(inputs))
        if name == "things":
            session.kubectl("wait", "--for=condition=Established", f"crd/{inputs['metadata']['name']}", "--timeout=60s")
        identity, kept, outputs = official_state(
            name, inputs, live(session, inputs["kind"], inputs["metadata"]["name"])
        )
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
    return session


def versions(session: EngineSession) -> dict[str, str]:
    """Return the resource versions of objects that no controller changes."""
    found = official_inputs(session)
    return {
        name: live(session, found[name][1]["kind"], found[name][1]["metadata"]["name"])["metadata"]["resourceVersion"]
        for name in ("settings", "unnamed", "keys", "front", "reader")
    }


def test_a_state_of_the_official_plugin_works_unchanged(taken_over: EngineSession) -> None:
    """Preview, refresh and update find no change, and nothing is written to the cluster."""
    before = versions(taken_over)
    shown = taken_over.preview(declared(taken_over))
    assert (shown.errors, set(shown.changed), shown.diffs) == ([], {"same"}, {})
    assert shown.changed["same"] == len(official_inputs(taken_over)) + 2
    assert taken_over.drift() == {}
    run = taken_over.up(declared(taken_over))
    assert (run.errors, set(run.changed), run.diffs) == ([], {"same"}, {})
    assert versions(taken_over) == before
    assert "hunter2" not in taken_over.checkpoint()
    assert "aHVudGVyMg==" not in taken_over.checkpoint()


def test_undeclared_fields_are_removed_although_another_manager_set_them(taken_over: EngineSession) -> None:
    """The fields of the official plugin's posts are taken over with the first change, by the manager in its state."""
    assert taken_over.preview(declared(taken_over, tier="back")).diffs == {
        "front": {"spec.selector.app": "delete", "spec.selector.tier": "add"},
        "web": {"metadata.labels": "add"},
    }
    run = taken_over.up(declared(taken_over, tier="back"))
    assert (run.errors, run.changed["update"]) == ([], 2)
    found = live(taken_over, "service", "front")
    assert found["spec"]["selector"] == {"tier": "back"}
    assert [one["manager"] for one in found["metadata"]["managedFields"]] == [MANAGER]
    kept = taken_over.resources()["web"]["outputs"]
    assert (kept["__fieldManager"], kept["__initialApiVersion"]) == (MANAGER, FIRST_VERSIONS["web"])
    assert set(taken_over.up(declared(taken_over, tier="back")).changed) == {"same"}


def test_a_state_of_ours_has_the_official_plugins_form(session: EngineSession) -> None:
    """Types, IDs, inputs, outputs and secret fields are the same."""
    assert not session.up(declared(session)).errors
    found = session.resources()
    for name, (token, wanted) in official_inputs(session).items():
        ours = found[name]
        inputs, wanted = ours["inputs"], concealed(name, underscored(wanted))
        if name == "unnamed":
            wanted["metadata"]["name"] = inputs["metadata"]["name"]
            assert inputs["metadata"]["name"].startswith("unnamed-")
        if name == "web":  # ours keeps an author's spelling; both plugins know that it means the same
            limits = inputs["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
            limits.update({"cpu": "500m", "memory": "1Gi"})
        seen = live(session, wanted["kind"], wanted["metadata"]["name"])
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
    """Return secrets without their content, which is encrypted again each time."""
    if isinstance(value, Mapping):
        return "[secret]" if SECRET_MARK.items() <= value.items() else {k: open_text(v) for k, v in value.items()}
    return [open_text(item) for item in value] if isinstance(value, list) else value
