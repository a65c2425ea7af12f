"""What runs on the cluster of these nodes: the approval service's image in the site's registry, and pods of it."""

from __future__ import annotations

from pathlib import Path

import kubernetes_nodes
import yaml
from kubernetes_nodes import KubernetesNodes

from lab.command import network_of
from playbooks.render.kubernetes.cluster import REGISTRY_PORT
from stacks.providers import registry
from tools.oci import build
from workstation.oci import OciImage

PORT = 8080


def registry_of(nodes: KubernetesNodes) -> registry.Registry:
    """The site's, as the operator reaches it."""
    operator = nodes.secrets.certificates["operator"]
    return registry.Registry(
        url=f"https://{nodes.plan.management(nodes.first.name)}:{REGISTRY_PORT}",
        host=nodes.first.name,
        authority=nodes.secrets.authority,
        cert=operator.cert,
        key=operator.key,
    )


def push(nodes: KubernetesNodes) -> tuple[OciImage, int, int]:
    """The approval service's image, and how many layers travelled to the registry the first and the second time."""
    made, there = build.build("approval"), registry_of(nodes)
    with network_of(Path("/run/netns") / kubernetes_nodes.OPERATOR):
        assert not registry.holds(there, made.name, made.digest)
        counts = registry.push(there, made), registry.push(there, made)
        assert registry.holds(there, made.name, made.digest)
    return made, *counts


def workload(image: str, name: str = "approval", replicas: int = 2) -> str:
    """Pods as a bureau may have them."""
    container = {
        "name": name,
        "image": image,
        "env": [
            {"name": "GOVCLOUD_SITE", "value": "futian"},
            {"name": "APPROVAL_LISTEN", "value": f":{PORT}"},
            {"name": "APPROVAL_WRITE_DSN", "value": "host=127.0.0.1 port=1 dbname=none"},
            {"name": "APPROVAL_READ_DSN", "value": "host=127.0.0.1 port=1 dbname=none"},
        ],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "dnsPolicy": "Default",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "bureau"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "bureau"},
        "spec": {
            "selector": {"app": name},
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"port": 80, "targetPort": PORT}],
        },
    }
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bureau", "labels": labels}}
    return yaml.safe_dump_all([namespace, deployment, service])
