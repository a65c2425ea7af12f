"""The provider's settings from the SDK's `Provider` arguments, the stack configuration and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "kubernetes:config:"
_ENVIRONMENT = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. `access` contains the kubeconfig, the context, the cluster and the namespace."""

    access: Mapping[str, str]
    delete_unreachable: bool = False
    config_maps_change: bool = False
    patch_force: bool = False
    secrets_change: bool = False
    skip_unreachable: bool = False
    upsert: bool = False


def settings(variables: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from the engine's variables `kubernetes:config:NAME`, else from the environment."""
    values = {key.removeprefix(PREFIX): value for key, value in variables.items()}
    around = os.environ if environment is None else environment

    def flag(name: str) -> bool:
        return values.get(name, around.get(_ENVIRONMENT[name], "")) == "true"

    return Settings(
        access={key: values[key] for key in ("kubeconfig", "context", "cluster", "namespace") if values.get(key)},
        delete_unreachable=flag("deleteUnreachable"),
        config_maps_change=flag("enableConfigMapMutable"),
        patch_force=flag("enablePatchForce"),
        secrets_change=flag("enableSecretMutable"),
        skip_unreachable=flag("skipUpdateUnreachable"),
        upsert=flag("upsertExistingObjects"),
    )


def refusals(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of the official provider that this provider does not support, each with the next step."""
    refused = {}
    if values.get("renderYamlToDirectory"):
        refused["renderYamlToDirectory"] = "is not supported by this provider: install the official plugin for it"
    if str(values.get("enableServerSideApply", "true")).lower() == "false":
        refused["enableServerSideApply"] = "must not be false: this provider uses only server-side apply"
    return refused
