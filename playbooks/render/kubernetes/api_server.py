"""A cluster's API server: authentication, encryption, audit and admission."""

from __future__ import annotations

import base64
import hashlib

from estate.addressing import AddressPlan
from estate.model import Estate, Host, Pool
from playbooks.host_spec import File
from playbooks.render.kubernetes import pki
from playbooks.render.kubernetes.cluster import (
    API_PORT,
    CLUSTER_CA_FILE,
    DIRECTORY,
    PKI,
    TLS_CIPHERS,
    document,
    key_pair,
    secret_file,
)
from playbooks.render.kubernetes.daemon import identity, unit
from playbooks.render.kubernetes.etcd import CLIENT_PORT, ETCD_UNIT
from playbooks.secrets import ClusterSecrets

API_UNIT = "kube-apiserver.service"
API_ACCOUNT = "kube-apiserver"
ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIT_LOG = "/var/log/kubernetes/audit.log"


def files(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart = (f"restart:{API_UNIT}",)
    accounts = key_pair(cluster, pki.ACCOUNTS)
    return (
        File(path=CLUSTER_CA_FILE, text=cluster.authority, notify=restart),
        *identity(pki.API, cluster, API_ACCOUNT, restart),
        *identity(pki.API_TO_KUBELET, cluster, API_ACCOUNT, restart),
        *identity(pki.API_TO_ETCD, cluster, API_ACCOUNT, restart),
        File(path=f"{PKI}/service-accounts.crt", text=accounts.cert, notify=restart),
        secret_file(f"{PKI}/service-accounts.key", accounts.key, owner=API_ACCOUNT, notify=restart),
        secret_file(f"{DIRECTORY}/encryption.yaml", encryption(cluster), owner=API_ACCOUNT, notify=restart),
        File(path=f"{DIRECTORY}/audit.yaml", text=audit_policy(), notify=restart),
        File(path=f"{DIRECTORY}/admission.yaml", text=admission(), notify=restart),
        File(path=f"/etc/systemd/system/{API_UNIT}", text=api_unit(plan, host), notify=restart),
    )


def api_flags(plan: AddressPlan, host: Host) -> tuple[str, ...]:
    """Return flags: no anonymous access, nodes limited to their objects, encrypted Secrets, every change audited."""
    own = plan.clusters[host.at]
    return (
        f"--advertise-address={plan.lan(host.name).ipv4}",
        "--bind-address=::",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={_both(own.cluster_ips)}",
        f"--etcd-servers=https://127.0.0.1:{CLIENT_PORT}",
        f"--etcd-cafile={PKI}/etcd-ca.crt",
        f"--etcd-certfile={PKI}/{pki.API_TO_ETCD}.crt",
        f"--etcd-keyfile={PKI}/{pki.API_TO_ETCD}.key",
        f"--tls-cert-file={PKI}/{pki.API}.crt",
        f"--tls-private-key-file={PKI}/{pki.API}.key",
        "--tls-min-version=VersionTLS12",
        f"--tls-cipher-suites={','.join(TLS_CIPHERS)}",
        f"--client-ca-file={CLUSTER_CA_FILE}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,EventRateLimit,DenyServiceExternalIPs",
        f"--admission-control-config-file={DIRECTORY}/admission.yaml",
        f"--kubelet-certificate-authority={CLUSTER_CA_FILE}",
        f"--kubelet-client-certificate={PKI}/{pki.API_TO_KUBELET}.crt",
        f"--kubelet-client-key={PKI}/{pki.API_TO_KUBELET}.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={PKI}/service-accounts.crt",
        f"--service-account-signing-key-file={PKI}/service-accounts.key",
        "--service-account-lookup=true",
        "--service-account-extend-token-expiration=false",
        f"--encryption-provider-config={DIRECTORY}/encryption.yaml",
        f"--audit-policy-file={DIRECTORY}/audit.yaml",
        f"--audit-log-path={AUDIT_LOG}",
        "--audit-log-maxage=30",
        "--audit-log-maxbackup=10",
        "--audit-log-maxsize=100",
        "--request-timeout=60s",
        "--profiling=false",
    )


def api_unit(plan: AddressPlan, host: Host) -> str:
    """Return the API server's unit. It is the only daemon of the control plane that other hosts can reach."""
    return unit(
        host,
        "Kubernetes API server",
        "/usr/local/bin/kube-apiserver",
        api_flags(plan, host),
        API_ACCOUNT,
        kind="notify",
        section=f"Wants={ETCD_UNIT}\nAfter={ETCD_UNIT}\n",
        service=("LogsDirectory=kubernetes", "LogsDirectoryMode=0700", "LimitNOFILE=65536", "OOMScoreAdjust=-900"),
    )


def encryption(cluster: ClusterSecrets) -> str:
    """Return the key that encrypts Secrets before they reach etcd. The server never reads unencrypted Secrets."""
    key = base64.b64encode(hashlib.sha256(cluster.encryption.encode()).digest()).decode()
    return document(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [
                {"resources": ["secrets"], "providers": [{"secretbox": {"keys": [{"name": "first", "secret": key}]}}]}
            ],
        }
    )


def audit_policy() -> str:
    """Return the audit policy: each change and each read of a Secret, with its user.

    It records neither the content of Secrets nor the constant reads of the platform itself.
    """
    secret = [{"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]}]
    watching = [
        {"group": "coordination.k8s.io", "resources": ["leases"]},
        {"group": "", "resources": ["events"]},
        {"group": "events.k8s.io", "resources": ["events"]},
    ]
    return document(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "omitManagedFields": True,
            "rules": [
                {"level": "None", "resources": watching},
                {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics"]},
                {"level": "None", "userGroups": ["system:nodes"], "verbs": ["get", "list", "watch"]},
                {
                    "level": "None",
                    "users": [
                        "system:apiserver",
                        "system:kube-controller-manager",
                        "system:kube-proxy",
                        "system:kube-scheduler",
                    ],
                    "verbs": ["get", "list", "watch"],
                },
                {"level": "Metadata", "resources": secret},
                {"level": "Metadata", "verbs": ["get", "list", "watch"]},
                {"level": "Request"},
            ],
        }
    )


def admission() -> str:
    """Return the admission settings.

    A namespace without labels gets `baseline`; tenants' namespaces set `restricted`.
    """
    security = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": {
            "enforce": "baseline",
            "enforce-version": "latest",
            "audit": "restricted",
            "audit-version": "latest",
            "warn": "restricted",
            "warn-version": "latest",
        },
        "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
    }
    rates = {
        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
        "kind": "Configuration",
        "limits": [
            {"type": "Server", "qps": 100, "burst": 500},
            {"type": "Namespace", "qps": 20, "burst": 100, "cacheSize": 1000},
        ],
    }
    return document(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [
                {"name": "PodSecurity", "configuration": security},
                {"name": "EventRateLimit", "configuration": rates},
            ],
        }
    )


def _both(networks: Pool) -> str:
    return f"{networks.ipv4},{networks.ipv6}"
