"""The own etcd of a site's cluster: one member, on the loopback address, with its own authority."""

from __future__ import annotations

from estate.model import Host
from facts.host_paths import data_folder
from playbooks.host_spec import File
from playbooks.render.kubernetes import pki
from playbooks.render.kubernetes.cluster import PKI, data_directory, on_disk
from playbooks.render.kubernetes.daemon import identity, unit
from playbooks.secrets import ClusterSecrets

ETCD_UNIT = "kubernetes-etcd.service"
ETCD_ACCOUNT = "kubernetes-etcd"
CLIENT_PORT, PEER_PORT = 2381, 2382
"""Different from the ports of the estate's etcd, which may run on the same host."""
QUOTA_BYTES = 512 * 1024 * 1024


def files(host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart = (f"restart:{ETCD_UNIT}",)
    return (
        File(path=f"{PKI}/etcd-ca.crt", text=cluster.etcd_authority, notify=restart),
        *identity(pki.ETCD, cluster, ETCD_ACCOUNT, restart),
        File(path=f"/etc/systemd/system/{ETCD_UNIT}", text=etcd_unit(host), notify=restart),
    )


def etcd_flags(host: Host) -> tuple[str, ...]:
    """Return the flags of a single member on the loopback address."""
    client, peer = f"https://127.0.0.1:{CLIENT_PORT}", f"https://127.0.0.1:{PEER_PORT}"
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
        f"--data-dir={data_directory(host, 'kubernetes-etcd')}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={host.name}={peer}",
        f"--initial-cluster-token=kubernetes-{host.at}",
        *tls,
        "--tls-min-version=TLS1.2",
        f"--quota-backend-bytes={QUOTA_BYTES}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        "--log-level=warn",
    )


def etcd_unit(host: Host) -> str:
    """Return the unit of the cluster's own etcd."""
    directory = data_directory(host, "kubernetes-etcd")
    return unit(
        host,
        "etcd of the site's Kubernetes cluster",
        "/usr/local/bin/etcd",
        etcd_flags(host),
        ETCD_ACCOUNT,
        kind="notify",
        section=on_disk(host),
        service=(
            f"ExecStartPre=+/usr/bin/install -d -o {ETCD_ACCOUNT} -g {ETCD_ACCOUNT} -m 0700 {directory}",
            f"ReadWritePaths={data_folder(host)}",
            "LimitNOFILE=65536",
        ),
    )
