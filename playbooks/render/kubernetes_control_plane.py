"""Role kubernetes_control_plane: etcd, API server, controllers and scheduler of one site's cluster, as systemd units.

Each daemon has an account of its own and reads only its own keys. etcd and the local ports listen on the loopback
address; only the API server is reached from outside. One instance of each, so nobody elects a leader: after a loss of
power they work as soon as they run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from estate.addressing import AddressPlan, DualNetwork
from estate.model import Estate, Host
from playbooks.hostplan import Account, File, RoleInput, Unit
from playbooks.render import kubernetes, kubernetes_pki
from playbooks.render.kubernetes import DIRECTORY, PKI, document, secret_file
from playbooks.render.text import banner
from playbooks.secrets import ClusterSecrets, Secrets

ETCD_UNIT = "kubernetes-etcd.service"
API_UNIT = "kube-apiserver.service"
CONTROLLERS_UNIT = "kube-controller-manager.service"
SCHEDULER_UNIT = "kube-scheduler.service"
ACCESS_UNIT = "kubernetes-access.service"
ETCD_ACCOUNT = "kubernetes-etcd"
API_ACCOUNT, CONTROLLERS_ACCOUNT, SCHEDULER_ACCOUNT = "kube-apiserver", "kube-controller-manager", "kube-scheduler"

ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2381, 2382
"""Beside those of the estate's etcd, which a host may carry too."""
ETCD_QUOTA_BYTES = 512 * 1024 * 1024
ISSUER = "https://kubernetes.default.svc.cluster.local"
ADMIN_CONFIG = f"{DIRECTORY}/admin.conf"
AUDIT_LOG = "/var/log/kubernetes/audit.log"
READY_WAIT_S = 90

CONFINED = """CapabilityBoundingSet=
LockPersonality=yes
NoNewPrivileges=yes
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0077"""


def role_input(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleInput:
    """The control plane on `host`. Raises ValueError where the estate does not place one there."""
    if not kubernetes.is_control_plane(estate, host):
        raise ValueError(f"{host.name} has no control plane")
    cluster = secrets.clusters[host.at]
    return RoleInput(
        role="kubernetes_control_plane",
        settings={
            "version": kubernetes.cluster_of(estate, host).version,
            "kubeconfig": ADMIN_CONFIG,
            "ready_wait_s": READY_WAIT_S,
        },
        files=(
            *_etcd(host, cluster),
            *_api(estate, plan, host, cluster),
            *_controllers(estate, plan, host, cluster),
            *_scheduler(estate, plan, host, cluster),
            *_access(estate, plan, host, cluster),
        ),
        units=tuple(Unit(name=n) for n in (ETCD_UNIT, API_UNIT, CONTROLLERS_UNIT, SCHEDULER_UNIT, ACCESS_UNIT)),
        accounts=tuple(
            Account(name=name) for name in (ETCD_ACCOUNT, API_ACCOUNT, CONTROLLERS_ACCOUNT, SCHEDULER_ACCOUNT)
        ),
    )


def _identity(name: str, cluster: ClusterSecrets, owner: str, notify: tuple[str, ...]) -> tuple[File, File]:
    """A certificate and its key, both their owner's."""
    made = kubernetes.pair(cluster, name)
    return (
        File(path=f"{PKI}/{name}.crt", text=made.cert, notify=notify),
        secret_file(f"{PKI}/{name}.key", made.key, owner=owner, notify=notify),
    )


def _etcd(host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart = (f"restart:{ETCD_UNIT}",)
    return (
        File(path=f"{PKI}/etcd-ca.crt", text=cluster.etcd_authority, notify=restart),
        *_identity(kubernetes_pki.ETCD, cluster, ETCD_ACCOUNT, restart),
        File(path=f"/etc/systemd/system/{ETCD_UNIT}", text=etcd_unit(host), notify=restart),
    )


def etcd_flags(host: Host) -> tuple[str, ...]:
    """One member, alone, on the loopback address."""
    client, peer = f"https://127.0.0.1:{ETCD_CLIENT_PORT}", f"https://127.0.0.1:{ETCD_PEER_PORT}"
    tls = [
        f"--{side}{flag}"
        for side in ("", "peer-")
        for flag in (
            f"cert-file={PKI}/etcd.crt",
            f"key-file={PKI}/etcd.key",
            f"trusted-ca-file={PKI}/etcd-ca.crt",
            "client-cert-auth=true",
        )
    ]
    return (
        f"--name={host.name}",
        f"--data-dir={kubernetes.data_directory(host, 'kubernetes-etcd')}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={host.name}={peer}",
        f"--initial-cluster-token=kubernetes-{host.at}",
        *tls,
        "--tls-min-version=TLS1.2",
        f"--quota-backend-bytes={ETCD_QUOTA_BYTES}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        "--log-level=warn",
    )


def etcd_unit(host: Host) -> str:
    """The cluster's own etcd."""
    directory = kubernetes.data_directory(host, "kubernetes-etcd")
    return _unit(
        host,
        "etcd of the site's Kubernetes cluster",
        "/usr/local/bin/etcd",
        etcd_flags(host),
        ETCD_ACCOUNT,
        kind="notify",
        section=kubernetes.on_disk(host),
        service=(
            f"ExecStartPre=+/usr/bin/install -d -o {ETCD_ACCOUNT} -g {ETCD_ACCOUNT} -m 0700 {directory}",
            f"ReadWritePaths={host.disk.mount if host.disk else '/var/lib'}",
            "LimitNOFILE=65536",
        ),
    )


def _api(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart = (f"restart:{API_UNIT}",)
    accounts = kubernetes.pair(cluster, kubernetes_pki.ACCOUNTS)
    return (
        File(path=kubernetes.AUTHORITY_FILE, text=cluster.authority, notify=restart),
        *_identity(kubernetes_pki.API, cluster, API_ACCOUNT, restart),
        *_identity(kubernetes_pki.API_TO_KUBELET, cluster, API_ACCOUNT, restart),
        *_identity(kubernetes_pki.API_TO_ETCD, cluster, API_ACCOUNT, restart),
        File(path=f"{PKI}/service-accounts.crt", text=accounts.cert, notify=restart),
        secret_file(f"{PKI}/service-accounts.key", accounts.key, owner=API_ACCOUNT, notify=restart),
        secret_file(f"{DIRECTORY}/encryption.yaml", encryption(cluster), owner=API_ACCOUNT, notify=restart),
        File(path=f"{DIRECTORY}/audit.yaml", text=audit_policy(), notify=restart),
        File(path=f"{DIRECTORY}/admission.yaml", text=admission(), notify=restart),
        File(path=f"/etc/systemd/system/{API_UNIT}", text=api_unit(estate, plan, host), notify=restart),
    )


def api_flags(estate: Estate, plan: AddressPlan, host: Host) -> tuple[str, ...]:
    """Nobody anonymous, nodes bound to what is theirs, secrets encrypted, every change on record."""
    own = plan.clusters[host.at]
    return (
        f"--advertise-address={plan.lan(host.name).ipv4}",
        "--bind-address=::",
        f"--secure-port={kubernetes.API_PORT}",
        f"--service-cluster-ip-range={_both(own.cluster_ips)}",
        f"--etcd-servers=https://127.0.0.1:{ETCD_CLIENT_PORT}",
        f"--etcd-cafile={PKI}/etcd-ca.crt",
        f"--etcd-certfile={PKI}/{kubernetes_pki.API_TO_ETCD}.crt",
        f"--etcd-keyfile={PKI}/{kubernetes_pki.API_TO_ETCD}.key",
        f"--tls-cert-file={PKI}/{kubernetes_pki.API}.crt",
        f"--tls-private-key-file={PKI}/{kubernetes_pki.API}.key",
        "--tls-min-version=VersionTLS12",
        f"--tls-cipher-suites={','.join(kubernetes.TLS_CIPHERS)}",
        f"--client-ca-file={kubernetes.AUTHORITY_FILE}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,EventRateLimit,DenyServiceExternalIPs",
        f"--admission-control-config-file={DIRECTORY}/admission.yaml",
        f"--kubelet-certificate-authority={kubernetes.AUTHORITY_FILE}",
        f"--kubelet-client-certificate={PKI}/{kubernetes_pki.API_TO_KUBELET}.crt",
        f"--kubelet-client-key={PKI}/{kubernetes_pki.API_TO_KUBELET}.key",
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


def api_unit(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """The API server, the only one of these that is reached from outside."""
    return _unit(
        host,
        "Kubernetes API server",
        "/usr/local/bin/kube-apiserver",
        api_flags(estate, plan, host),
        API_ACCOUNT,
        kind="notify",
        section=f"Wants={ETCD_UNIT}\nAfter={ETCD_UNIT}\n",
        service=("LogsDirectory=kubernetes", "LogsDirectoryMode=0700", "LimitNOFILE=65536", "OOMScoreAdjust=-900"),
    )


def encryption(cluster: ClusterSecrets) -> str:
    """The key by which Secrets are encrypted before etcd sees them. Nothing unencrypted is ever read."""
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
    """Who changed what, and who read a secret; never a secret's content, never what the platform reads all day."""
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
    """A namespace that says nothing gets `baseline`; tenants' namespaces say `restricted` themselves."""
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


def _client(
    estate: Estate, plan: AddressPlan, host: Host, name: str, owner: str, path: str, notify: tuple[str, ...]
) -> File:
    text = kubernetes.kubeconfig(
        kubernetes.api_url(estate, plan, host.at),
        host.at,
        name,
        authority=kubernetes.AUTHORITY_FILE,
        cert=f"{PKI}/{name}.crt",
        key=f"{PKI}/{name}.key",
    )
    return File(path=path, text=text, owner=owner, group=owner, mode="0600", notify=notify)


def _controllers(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart, name, config = (
        (f"restart:{CONTROLLERS_UNIT}",),
        kubernetes_pki.CONTROLLERS,
        f"{DIRECTORY}/controllers.conf",
    )
    key = kubernetes.pair(cluster, kubernetes_pki.ACCOUNTS).key
    return (
        *_identity(name, cluster, CONTROLLERS_ACCOUNT, restart),
        secret_file(f"{PKI}/service-accounts-controllers.key", key, owner=CONTROLLERS_ACCOUNT, notify=restart),
        _client(estate, plan, host, name, CONTROLLERS_ACCOUNT, config, restart),
        File(
            path=f"/etc/systemd/system/{CONTROLLERS_UNIT}",
            text=_unit(
                host,
                "Kubernetes controllers",
                "/usr/local/bin/kube-controller-manager",
                controller_flags(config),
                CONTROLLERS_ACCOUNT,
                section=f"Wants={API_UNIT}\nAfter={API_UNIT}\n",
            ),
            notify=restart,
        ),
    )


def controller_flags(config: str) -> tuple[str, ...]:
    """Each controller with rights of its own. It signs nothing: certificates are the stacks'."""
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        *_local_serving(kubernetes_pki.CONTROLLERS),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={PKI}/service-accounts-controllers.key",
        f"--root-ca-file={kubernetes.AUTHORITY_FILE}",
        "--allocate-node-cidrs=false",
        "--terminated-pod-gc-threshold=100",
    )


def _scheduler(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart, name, config = (f"restart:{SCHEDULER_UNIT}",), kubernetes_pki.SCHEDULER, f"{DIRECTORY}/scheduler.conf"
    return (
        *_identity(name, cluster, SCHEDULER_ACCOUNT, restart),
        _client(estate, plan, host, name, SCHEDULER_ACCOUNT, config, restart),
        File(
            path=f"/etc/systemd/system/{SCHEDULER_UNIT}",
            text=_unit(
                host,
                "Kubernetes scheduler",
                "/usr/local/bin/kube-scheduler",
                scheduler_flags(config),
                SCHEDULER_ACCOUNT,
                section=f"Wants={API_UNIT}\nAfter={API_UNIT}\n",
            ),
            notify=restart,
        ),
    )


def scheduler_flags(config: str) -> tuple[str, ...]:
    """The scheduler's own defaults otherwise."""
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        *_local_serving(kubernetes_pki.SCHEDULER),
    )


def _local_serving(name: str) -> tuple[str, ...]:
    return (
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={PKI}/{name}.crt",
        f"--tls-private-key-file={PKI}/{name}.key",
        "--tls-min-version=VersionTLS12",
        f"--client-ca-file={kubernetes.AUTHORITY_FILE}",
        "--leader-elect=false",
        "--profiling=false",
    )


def _access(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    """Who may do what in a new cluster, put there by the host's root, who owns the cluster's etcd anyway."""
    name, rules = kubernetes_pki.ADMIN, f"{DIRECTORY}/access.yaml"
    restart = (f"restart:{ACCESS_UNIT}",)
    return (
        *_identity(name, cluster, "root", ()),
        _client(estate, plan, host, name, "root", ADMIN_CONFIG, ()),
        File(path=rules, text=access(), notify=restart),
        File(path=f"/etc/systemd/system/{ACCESS_UNIT}", text=access_unit(host, rules), notify=restart),
    )


def access() -> str:
    """The operators' rights, and the API server's towards kubelets."""
    return document(
        _binding("govcloud:operators", "cluster-admin", "Group", kubernetes.OPERATORS_GROUP),
        _binding(kubernetes_pki.KUBELET_CLIENT, "system:kubelet-api-admin", "User", kubernetes_pki.KUBELET_CLIENT),
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
    """Applied at every boot, as a server-side apply that changes nothing where all is as it was."""
    kubectl = f"/usr/local/bin/kubectl --kubeconfig={ADMIN_CONFIG}"
    return f"""{banner("Access to the cluster", host.name)}[Unit]
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


def _unit(
    host: Host,
    what: str,
    program: str,
    flags: Iterable[str],
    account: str,
    *,
    kind: str = "exec",
    section: str = "",
    service: Iterable[str] = (),
) -> str:
    command = " \\\n    ".join((program, *flags))
    extra = "".join(f"{line}\n" for line in service)
    return f"""{banner(what, host.name)}[Unit]
Description={what}
After=network.target
{section}StartLimitIntervalSec=0

[Service]
Type={kind}
User={account}
Group={account}
ExecStart={command}
Restart=always
RestartSec=1
TimeoutStartSec=120
TimeoutStopSec=20
{extra}{CONFINED}

[Install]
WantedBy=multi-user.target
"""


def _both(networks: DualNetwork) -> str:
    return f"{networks.ipv4},{networks.ipv6}"
