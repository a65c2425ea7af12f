"""A cluster's controllers and its scheduler. There is one instance of each, so no leader election is needed."""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.host_spec import File
from playbooks.render.kubernetes import pki
from playbooks.render.kubernetes.api_server import API_UNIT
from playbooks.render.kubernetes.cluster import CLUSTER_CA_FILE, DIRECTORY, PKI, key_pair, secret_file
from playbooks.render.kubernetes.daemon import client, identity, unit
from playbooks.secrets import ClusterSecrets

CONTROLLERS_UNIT = "kube-controller-manager.service"
SCHEDULER_UNIT = "kube-scheduler.service"
CONTROLLERS_ACCOUNT, SCHEDULER_ACCOUNT = "kube-controller-manager", "kube-scheduler"


def controllers(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart, name, config = (
        (f"restart:{CONTROLLERS_UNIT}",),
        pki.CONTROLLERS,
        f"{DIRECTORY}/controllers.conf",
    )
    key = key_pair(cluster, pki.ACCOUNTS).key
    return (
        *identity(name, cluster, CONTROLLERS_ACCOUNT, restart),
        secret_file(f"{PKI}/service-accounts-controllers.key", key, owner=CONTROLLERS_ACCOUNT, notify=restart),
        client(estate, plan, host, name, path=config, owner=CONTROLLERS_ACCOUNT, notify=restart),
        File(
            path=f"/etc/systemd/system/{CONTROLLERS_UNIT}",
            text=unit(
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
    """Return flags: each controller has its own rights. No controller signs certificates: the stacks do."""
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        *_local_serving(pki.CONTROLLERS),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={PKI}/service-accounts-controllers.key",
        f"--root-ca-file={CLUSTER_CA_FILE}",
        "--allocate-node-cidrs=false",
        "--terminated-pod-gc-threshold=100",
    )


def scheduler(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart, name, config = (f"restart:{SCHEDULER_UNIT}",), pki.SCHEDULER, f"{DIRECTORY}/scheduler.conf"
    return (
        *identity(name, cluster, SCHEDULER_ACCOUNT, restart),
        client(estate, plan, host, name, path=config, owner=SCHEDULER_ACCOUNT, notify=restart),
        File(
            path=f"/etc/systemd/system/{SCHEDULER_UNIT}",
            text=unit(
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
    """Return flags. Other settings keep the scheduler's defaults."""
    return (
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        *_local_serving(pki.SCHEDULER),
    )


def _local_serving(name: str) -> tuple[str, ...]:
    return (
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={PKI}/{name}.crt",
        f"--tls-private-key-file={PKI}/{name}.key",
        "--tls-min-version=VersionTLS12",
        f"--client-ca-file={CLUSTER_CA_FILE}",
        "--leader-elect=false",
        "--profiling=false",
    )
