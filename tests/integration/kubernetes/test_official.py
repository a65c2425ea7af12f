"""A state that the official plugin wrote is gone on with as it is, and ours has the same members.

The form is that of pulumi-kubernetes 4 in its server-side apply mode, written out here by hand: inputs are the declared
object; outputs are the live one, managed fields included, with `__inputs`, `__initialApiVersion` and `__fieldManager`
beside its fields; the manager is `pulumi-kubernetes-` and eight hexadecimal digits; a name that was made up is marked
by the annotation `pulumi.com/autonamed`; of a Secret's `stringData` is kept the `data` that the server makes of it.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.automation import Deployment

from stacks import workspace
from tests.integration.kubernetes.conftest import STACK, Desk
from tests.unit.stacks.declared import closing_loops

MANAGER = "pulumi-kubernetes-0f1e2d3c"
SECRET_KEY, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
PASSWORD = "kept-by-nobody-else"
CODED = base64.b64encode(PASSWORD.encode()).decode()
MADE_UP = "flags-5d41402a"


def secret(value: Any) -> dict[str, Any]:
    """A secret as an exported checkpoint holds it."""
    return {SECRET_KEY: SECRET, "plaintext": json.dumps(value)}


def declared(namespace: str) -> dict[str, dict[str, Any]]:
    """What the program declares, by resource name; the engine's own inputs for it."""
    limits = {"cpu": "500m", "memory": "128Mi"}
    container = {"name": "web", "image": "registry.invalid/web:1", "resources": {"limits": limits}}
    return {
        "settings": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": namespace},
            "data": {"colour": "green"},
        },
        "flags": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "annotations": {"pulumi.com/autonamed": "true"},
                "name": MADE_UP,
                "namespace": namespace,
            },
            "data": {"new": "yes"},
        },
        "login": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "login", "namespace": namespace},
            "data": {"password": CODED},
        },
        "web": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            },
        },
    }


def program(desk: Desk, replicas: int = 2) -> Any:
    """The same through the SDK."""
    wanted = declared(desk.namespace)

    def declare(opts: pulumi.ResourceOptions) -> None:
        settings, login, web = wanted["settings"], wanted["login"], wanted["web"]
        k8s.core.v1.ConfigMap("settings", metadata=settings["metadata"], data=settings["data"], opts=opts)
        k8s.core.v1.ConfigMap("flags", metadata={"namespace": desk.namespace}, data={"new": "yes"}, opts=opts)
        hidden = pulumi.Output.secret({"password": PASSWORD})
        k8s.core.v1.Secret("login", metadata=login["metadata"], string_data=hidden, opts=opts)
        k8s.apps.v1.Deployment("web", metadata=web["metadata"], spec={**web["spec"], "replicas": replicas}, opts=opts)

    return declare


def token(inputs: Mapping[str, Any]) -> str:
    """The resource's type: the core group is named in it."""
    version = inputs["apiVersion"]
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{inputs['kind']}"


def official(name: str, inputs: dict[str, Any], live: dict[str, Any], frame: Mapping[str, Any]) -> dict[str, Any]:
    """One resource of the official plugin's checkpoint. `frame` holds the stack's URN and the provider's reference."""
    kept, outputs = copy.deepcopy(inputs), copy.deepcopy(live)
    if kept["kind"] == "Secret":
        kept["data"], outputs["data"] = secret(kept["data"]), secret(outputs["data"])
    beside = {"__inputs": kept, "__initialApiVersion": inputs["apiVersion"], "__fieldManager": MANAGER}
    kind = token(inputs)
    return {
        "urn": f"urn:pulumi:{STACK}::{workspace.PROJECT}::{kind}::{name}",
        "custom": True,
        "id": f"{inputs['metadata']['namespace']}/{inputs['metadata']['name']}",
        "type": kind,
        "inputs": kept,
        "outputs": {**outputs, **beside},
        "parent": frame["stack"],
        "provider": frame["provider"],
    }


@pytest.fixture
def taken_over(desk: Desk) -> Desk:
    """Whose objects and state are the official plugin's work: applied with its manager, and a checkpoint imported."""
    desk.up(lambda opts: None)  # stack and provider alone
    stack = workspace.open_stack(STACK, lambda: None)
    with closing_loops():
        exported = stack.export_stack()
    assert exported.deployment is not None
    known = exported.deployment["resources"]
    given = next(item for item in known if item["type"] == "pulumi:providers:kubernetes")
    frame = {
        "stack": next(item["urn"] for item in known if item["type"] == "pulumi:pulumi:Stack"),
        "provider": f"{given['urn']}::{given['id']}",
    }
    for name, inputs in declared(desk.namespace).items():
        desk.kubectl("apply", "--server-side", f"--field-manager={MANAGER}", "-f", "-", stdin=json.dumps(inputs))
        found = inputs["kind"].lower(), inputs["metadata"]["name"]
        live = json.loads(desk.kubectl("get", *found, "-o", "json", "--show-managed-fields"))
        known.append(official(name, inputs, live, frame))
    with closing_loops():
        stack.import_stack(Deployment(version=exported.version, deployment=exported.deployment))
    return desk


def test_nothing_differs_in_what_the_official_plugin_left(taken_over: Desk) -> None:
    """Neither planned, nor read, nor applied; every object stays the same one, with the one manager that it had."""
    before = {name: taken_over.uid(kind, name) for kind, name in (("configmap", MADE_UP), ("deployment", "web"))}
    shown = taken_over.preview(program(taken_over))
    assert (shown.faults, set(shown.changed), shown.diffs) == ([], {"same"}, {})
    assert taken_over.drift() == {}
    done = taken_over.up(program(taken_over))
    assert (done.faults, set(done.changed), done.diffs) == ([], {"same"}, {})
    assert {name: taken_over.uid("configmap" if name == MADE_UP else "deployment", name) for name in before} == before
    assert managers(taken_over, "deployment", "web") == {MANAGER}


def test_a_change_after_it_is_the_same_managers(taken_over: Desk) -> None:
    """Two would hold each other's fields for ever."""
    assert taken_over.preview(program(taken_over, replicas=3)).diffs["web"] == {"spec.replicas": "update"}
    assert taken_over.up(program(taken_over, replicas=3)).changed["update"] == 1
    assert taken_over.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    assert managers(taken_over, "deployment", "web") == {MANAGER}


def test_its_secrets_stay_secret(taken_over: Desk) -> None:
    """Also after a run of ours has read them anew."""
    taken_over.up(program(taken_over))
    assert not [value for value in (PASSWORD, CODED) if value in taken_over.checkpoint()]


def test_ours_has_the_members_of_the_official_plugins(desk: Desk) -> None:
    """Types, IDs and inputs to the last value; of the outputs all fields, and the values that nobody changes."""
    desk.up(program(desk))
    ours = desk.resources()
    for name, inputs in declared(desk.namespace).items():
        mine = ours[name]
        inputs["metadata"]["name"] = made = mine["inputs"]["metadata"]["name"]
        live = json.loads(desk.kubectl("get", inputs["kind"].lower(), made, "-o", "json", "--show-managed-fields"))
        theirs = official(name, inputs, live, {"stack": None, "provider": None})
        assert [mine[field] for field in ("urn", "id", "type")] == [theirs[field] for field in ("urn", "id", "type")]
        assert mine["outputs"].keys() == theirs["outputs"].keys()
        assert mine["outputs"]["metadata"].keys() == theirs["outputs"]["metadata"].keys()
        if inputs["kind"] != "Secret":  # its content is encrypted
            assert mine["inputs"] == mine["outputs"]["__inputs"] == theirs["inputs"]
            assert settled(mine["outputs"]) == settled(theirs["outputs"])


def settled(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Without what controllers change while nobody declares anything, and without the manager's digits."""
    metadata = outputs["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "creationTimestamp")}
    return {**outputs, "metadata": kept, "status": None, "__fieldManager": outputs["__fieldManager"][:-8]}


def managers(desk: Desk, kind: str, name: str) -> set[str]:
    """Who applied the object."""
    found = json.loads(desk.kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))["metadata"]
    return {entry["manager"] for entry in found["managedFields"] if entry["operation"] == "Apply"}
