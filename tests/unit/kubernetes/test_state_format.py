"""The format of objects in the state, without unmarked secrets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stacks.providers.kubernetes import kubeconfig, redaction, state_format
from stacks.providers.kubernetes.objects import LAST_APPLIED
from stacks.providers.kubernetes.settings import refusals, settings
from stacks.providers.values import Hidden, plain_map, to_properties
from stacks.runs import workspace

SECRET: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "data": {"password": "aHVudGVyMg=="}}
CONFIG: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "open", "b": "hunter2"}}


def test_the_state_returns_inputs_and_object() -> None:
    live = {**CONFIG, "metadata": {"name": "x", "uid": "1"}}
    state = state_format.outputs(CONFIG, live, to_properties(CONFIG), "v1", "manager")
    assert state_format.of_state(state) == (CONFIG, live)
    assert state_format.manager_of(state) == "manager"
    assert state_format.first_version_of(state, {}) == "v1"


def test_the_content_of_a_secret_is_secret_without_a_mark() -> None:
    state = state_format.outputs(SECRET, SECRET, to_properties(SECRET), "v1", "m")
    assert state["data"].is_secret
    assert state["__inputs"].value["data"].is_secret  # type: ignore[call-overload,index]
    assert state_format.checked(SECRET, to_properties(SECRET))["data"].is_secret


def test_marked_fields_stay_secret_and_other_fields_stay_readable() -> None:
    declared = to_properties({**CONFIG, "data": {"a": "open", "b": Hidden("hunter2")}})
    data = state_format.outputs(CONFIG, CONFIG, declared, "v1", "m")["data"].value
    assert isinstance(data, Mapping)
    assert (data["a"].is_secret, data["b"].is_secret) == (False, True)


def test_a_list_with_a_secret_element_is_secret_as_a_whole() -> None:
    """Its elements may have moved."""
    obj = {"kind": "X", "items": [{"v": "open"}, {"v": "hunter2"}]}
    declared = to_properties({"kind": "X", "items": [{"v": "open"}, {"v": Hidden("hunter2")}]})
    assert state_format.checked(obj, declared)["items"].is_secret


def test_the_last_applied_annotation_of_kubectl_is_secret_too() -> None:
    """It contains the whole object in plain text."""
    live = {**SECRET, "metadata": {"annotations": {LAST_APPLIED: '{"data": …}', "open": "1"}}}
    marked = redaction.mark_secrets(live, to_properties(SECRET))
    assert isinstance(marked["metadata"]["annotations"][LAST_APPLIED], Hidden)
    assert marked["metadata"]["annotations"]["open"] == "1"


def test_a_message_contains_no_secret() -> None:
    declared = to_properties({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}, "type": Hidden("marked-text")})
    text = redaction.redact('data: Invalid value: "aHVudGVyMg==", type marked-text', redaction.secret_texts(declared))
    assert text == 'data: Invalid value: "[secret]", type [secret]'


def test_a_definitions_fields_are_kept_as_the_sdks_name_them() -> None:
    obj = {"kind": "CustomResourceDefinition", "spec": {"x-kubernetes-list-type": "map"}}
    state = state_format.checked(obj, {})
    assert plain_map(state)["spec"] == {"x_kubernetes_list_type": "map"}
    assert state_format.declared_object(state) == obj


def test_settings_come_from_the_engine_before_the_environment() -> None:
    around = {"PULUMI_K8S_ENABLE_SECRET_MUTABLE": "true", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE": "true"}
    found = settings({"kubernetes:config:enableConfigMapMutable": "false", "kubernetes:config:context": "c"}, around)
    assert (found.config_maps_change, found.secrets_change, found.access) == (False, True, {"context": "c"})


def test_unsupported_settings_are_refused_and_not_ignored() -> None:
    assert "install the official plugin" in refusals({"renderYamlToDirectory": "x"})["renderYamlToDirectory"]
    assert refusals({"enableServerSideApply": "false"})
    assert refusals({"enableServerSideApply": True, "kubeconfig": "x"}) == {}


KUBECONFIG = """
current-context: a
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443"}}, {name: d, cluster: {server: "https://10.0.0.2:6443"}}]
contexts: [{name: a, context: {cluster: c, user: u, namespace: bureau}}, {name: b, context: {cluster: d, user: u}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.mark.parametrize(
    ("more", "server", "namespace"),
    [
        ({}, "https://10.0.0.1:6443", "bureau"),
        ({"context": "b"}, "https://10.0.0.2:6443", "default"),
        ({"cluster": "d", "namespace": "other"}, "https://10.0.0.2:6443", "other"),
    ],
)
def test_a_kubeconfig_leads_to_one_cluster(more: dict[str, str], server: str, namespace: str) -> None:
    found = kubeconfig.access({"kubeconfig": KUBECONFIG, **more})
    assert (found.server, found.namespace) == (server, namespace)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"context": "z"}, "its contexts: a, b"),
        ({"cluster": "z"}, "has no cluster z; it has c, d"),
        ({"kubeconfig": KUBECONFIG.replace("cluster: c,", "cluster: z,")}, "is not complete"),
        ({"kubeconfig": KUBECONFIG.replace("current-context: a", "")}, "No current context"),
        ({"kubeconfig": "clusters: 7\n"}, "it has no list `clusters`"),
        ({"kubeconfig": "a: [\n"}, "is not YAML (line 2)"),
    ],
)
def test_an_unusable_kubeconfig_is_reported_with_the_next_step(more: dict[str, str], words: str) -> None:
    with pytest.raises(kubeconfig.BadKubeconfig, match=words.replace("(", r"\(").replace(")", r"\)")):
        kubeconfig.access({"kubeconfig": KUBECONFIG, **more})


def test_a_file_that_cannot_be_a_kubeconfig_is_reported(tmp_path: Path) -> None:
    huge, binary = tmp_path / "huge", tmp_path / "binary"
    huge.write_bytes(b"#" * (kubeconfig.LARGEST + 1))
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(kubeconfig.BadKubeconfig, match="larger than 1 MiB"):
        kubeconfig.access({"kubeconfig": str(huge)})
    with pytest.raises(kubeconfig.BadKubeconfig, match="cannot be read"):
        kubeconfig.access({"kubeconfig": str(binary)})


def test_the_official_plugin_has_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine prefers a plugin on its PATH."""
    monkeypatch.setenv("GOVCLOUD_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    workspace.prepare()
    ours = tmp_path / "engine" / "bin" / workspace.KUBERNETES_PLUGIN
    assert ours.exists()
    official = tmp_path / "engine" / "pulumi" / "plugins" / "resource-kubernetes-v4.34.2" / workspace.KUBERNETES_PLUGIN
    official.parent.mkdir(parents=True)
    official.touch()
    workspace.prepare()
    assert not ours.exists()
    assert workspace.official_kubernetes() == official.parent
