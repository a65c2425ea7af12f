"""Kubernetes objects as plain JSON: identity, annotations, names. This module does not call a cluster."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stacks.providers.kubernetes import quantities

Object = dict[str, Any]

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
ROLL_BACK = "govcloud/roll-back"
"""Annotation on a Deployment: roll back to the previous version if the new version does not become ready."""
VERSION_OF = "govcloud/version-of"
"""Label of a ConfigMap or Secret that never changes. Its value is the workload whose versions use the object."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REVISION = "deployment.kubernetes.io/revision"
TEMPLATE_HASH = "pod-template-hash"
"""Label that distinguishes the pods of one version from the pods of the next."""

SERVERS_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Fields of the metadata that only the server sets."""

MANAGER_PREFIX = "pulumi-kubernetes-"


@dataclass(frozen=True)
class Kind:
    """Group, version and kind. The core group is the empty text."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """The text of the field `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def built_in(self) -> bool:
        """Whether Kubernetes itself defines the kind. All other kinds are custom resources."""
        return "." not in self.group or self.group.endswith(".k8s.io")

    def __str__(self) -> str:
        return f"{self.api_version} {self.kind}"


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """Return the kind that an object names. Missing parts are empty."""
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return Kind("" if group == "core" else group, version, str(obj.get("kind") or ""))


def kind_of_type(token: str) -> Kind:
    """Return the kind of a type such as `kubernetes:apps/v1:Deployment`. For a patch, it is the patched kind."""
    _, module, name = token.split(":")
    group, _, version = module.rpartition("/")
    return Kind("" if group == "core" else group, version, name)


def is_patch(token: str, obj: Mapping[str, Any]) -> bool:
    """Return whether the resource manages only some fields of another owner's object, as `ConfigMapPatch` does."""
    name = token.rsplit(":", 1)[-1]
    return name.endswith("Patch") and obj.get("kind") != name


def metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata; empty if it is missing or not known yet."""
    found = obj.get("metadata")
    return found if isinstance(found, Mapping) else {}


def name_of(obj: Mapping[str, Any]) -> str:
    """Return the name, or an empty text."""
    return str(metadata(obj).get("name") or "")


def namespace_of(obj: Mapping[str, Any]) -> str:
    """Return the namespace, or an empty text."""
    return str(metadata(obj).get("namespace") or "")


def label(obj: Mapping[str, Any], key: str) -> str:
    """Return a label's value, or an empty text."""
    return str((metadata(obj).get("labels") or {}).get(key) or "")


def annotation(obj: Mapping[str, Any], key: str) -> str:
    """Return an annotation's value, or an empty text."""
    found = metadata(obj).get("annotations")
    return str(found.get(key) or "") if isinstance(found, Mapping) else ""


def flagged(obj: Mapping[str, Any], key: str) -> bool:
    """Return whether an annotation has the value `true`."""
    return annotation(obj, key) == "true"


def resource_id(obj: Mapping[str, Any]) -> str:
    """Return `namespace/name`, or only the name if there is no namespace."""
    namespace, name = namespace_of(obj), name_of(obj)
    return f"{namespace}/{name}" if namespace else name


def parse_id(text: str) -> tuple[str, str]:
    """Return the namespace and the name of an ID."""
    namespace, _, name = text.rpartition("/")
    return namespace, name


def field_manager(urn: str) -> str:
    """Return the manager of a resource's fields.

    It is derived from the URN and not random, so that the next run recognises the objects of a killed run as its own.
    """
    return MANAGER_PREFIX + hashlib.sha256(urn.encode()).hexdigest()[:8]


def auto_name(resource: str, seed: bytes) -> str:
    """Return a name for an object without a declared name. The engine gives a replacement another seed."""
    return f"{resource}-{hashlib.sha256(seed or resource.encode()).hexdigest()[:8]}"


def with_metadata(obj: Object, **fields: Any) -> Object:
    """Return a copy with some fields of the metadata set."""
    return {**obj, "metadata": {**metadata(obj), **fields}}


def with_annotation(obj: Object, key: str, value: str) -> Object:
    """Return a copy with an annotation set."""
    return with_metadata(obj, annotations={**(metadata(obj).get("annotations") or {}), key: value})


def without_servers_metadata(obj: Object) -> Object:
    """Return a copy without the metadata that only the server sets."""
    if not metadata(obj):
        return dict(obj)
    return {**obj, "metadata": {k: v for k, v in metadata(obj).items() if k not in SERVERS_METADATA}}


def as_inputs(live: Object) -> Object:
    """Return the inputs that would create a live object, for an import."""
    kept = without_servers_metadata({key: value for key, value in live.items() if key != "status"})
    annotations = {
        k: v for k, v in (metadata(kept).get("annotations") or {}).items() if k not in (LAST_APPLIED, REVISION)
    }
    fields = {key: value for key, value in metadata(kept).items() if key != "annotations"}
    return {**kept, "metadata": {**fields, **({"annotations": annotations} if annotations else {})}}


def normalized(obj: Object) -> Object:
    """Return inputs in the form in which the server stores them, so that a spelling does not look like a change."""
    obj = without_servers_metadata(obj)
    if not kind_of(obj).built_in:
        return obj
    obj = _without_nulls(obj)
    return _secret(obj) if is_secret(obj) else obj


def is_secret(obj: Mapping[str, Any]) -> bool:
    """Return whether the object is a Secret."""
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def is_definition(obj: Mapping[str, Any]) -> bool:
    """Return whether the object defines a custom resource."""
    return obj.get("kind") == "CustomResourceDefinition"


def prune(found: Any, shape: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Return only the found fields that `shape` has too. The server adds defaults that no author declared.

    An equal quantity keeps its declared spelling: the server writes 1024Mi as 1Gi, which is no difference.
    """
    if isinstance(found, Mapping) and isinstance(shape, Mapping):
        return {key: prune(found[key], shape[key], (*path, key)) for key in shape if key in found}
    if isinstance(found, list) and isinstance(shape, list):
        return [prune(a, b, (*path, index)) for index, (a, b) in enumerate(zip(found, shape, strict=False))]
    return shape if path and quantities.same(path, found, shape) else found


def _secret(obj: Object) -> Object:
    """Return the Secret as the server stores it: `stringData` as `data`, and one spelling of base64."""
    data, text = obj.get("data"), obj.get("stringData")
    if isinstance(data, Mapping):
        obj = {**obj, "data": {key: _one_base64(value) for key, value in data.items()}}
    if not isinstance(text, Mapping) or not text:
        return obj
    encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in text.items()}
    kept = {key: value for key, value in obj.items() if key != "stringData"}
    return {**kept, "data": {**(kept.get("data") or {}), **encoded}}


def _one_base64(value: Any) -> Any:
    try:
        return base64.b64encode(base64.b64decode("".join(str(value).split()), validate=True)).decode()
    except (binascii.Error, ValueError):
        return value  # the server refuses it and names the key


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
