"""The access rules of a new cluster, and the admin access of the host's root."""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.host_spec import File
from playbooks.render.kubernetes import pki
from playbooks.render.kubernetes.api_server import API_UNIT
from playbooks.render.kubernetes.cluster import DIRECTORY, OPERATORS_GROUP, document
from playbooks.render.kubernetes.daemon import client, identity
from playbooks.render.text import header_comment
from playbooks.secrets import ClusterSecrets

ACCESS_UNIT = "kubernetes-access.service"
ADMIN_CONFIG = f"{DIRECTORY}/admin.conf"
IMAGES_NAMED_BY = {
    "": ("pods", "replicationcontrollers"),
    "apps": ("controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"),
    "batch": ("cronjobs", "jobs"),
}
"""By API group, all kinds of object that create pods, and all that store the earlier versions of a workload."""


def files(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    """Return the access rules, and the unit by which the host's root applies them.

    root owns the cluster's etcd and has full access anyway.
    """
    name, rules = pki.ADMIN, f"{DIRECTORY}/access.yaml"
    restart = (f"restart:{ACCESS_UNIT}",)
    return (
        *identity(name, cluster, "root", ()),
        client(estate, plan, host, name, path=ADMIN_CONFIG),
        File(path=rules, text=access(), notify=restart),
        File(path=f"/etc/systemd/system/{ACCESS_UNIT}", text=access_unit(host, rules), notify=restart),
    )


def access() -> str:
    """Return the rights of operators, of the API server to kubelets, of monitoring hosts and of the image clean-up."""
    return document(
        _binding("govcloud:operators", "cluster-admin", "Group", OPERATORS_GROUP),
        _binding(pki.KUBELET_CLIENT, "system:kubelet-api-admin", "User", pki.KUBELET_CLIENT),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": pki.MONITORING_USER},
            "rules": [
                {"nonResourceURLs": ["/readyz"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            ],
        },
        _binding(pki.MONITORING_USER, pki.MONITORING_USER, "User", pki.MONITORING_USER),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": pki.CLEANER_USER},
            "rules": [
                {"apiGroups": [group], "resources": list(kinds), "verbs": ["list"]}
                for group, kinds in IMAGES_NAMED_BY.items()
            ],
        },
        _binding(pki.CLEANER_USER, pki.CLEANER_USER, "User", pki.CLEANER_USER),
    )


def _binding(name: str, role: str, kind: str, subject: str) -> dict[str, object]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": subject}],
    }


def access_unit(host: Host, rules: str) -> str:
    """Return the unit. It runs at every boot. Its server-side apply changes nothing if all rules are unchanged."""
    kubectl = f"/usr/local/bin/kubectl --kubeconfig={ADMIN_CONFIG}"
    return f"""{header_comment("Access to the cluster", host.name)}[Unit]
Description=Access rules of the site's Kubernetes cluster
Wants={API_UNIT}
After={API_UNIT}

[Service]
Type=oneshot
RemainAfterExit=yes
Environment=HOME=/run
ExecStart={kubectl} apply --server-side --force-conflicts --field-manager=govcloud -f {rules}
Restart=on-failure
RestartSec=1
TimeoutStartSec=60

[Install]
WantedBy=multi-user.target
"""
