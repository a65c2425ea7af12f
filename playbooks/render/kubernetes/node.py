"""Role kubernetes_node: kubelet, kube-proxy and the pods' network on a node.

Pods have addresses of both families from the node's own prefix, on a bridge. They reach the site's other nodes by plain
routes, and everything else with the node's address. kube-proxy and the bridge's masquerade use nftables, in their own
tables next to the host's filter.
"""

from __future__ import annotations

import json

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks import host_programs
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render import networkd, nftables
from playbooks.render.kubernetes import pki
from playbooks.render.kubernetes.cluster import (
    API_PORT,
    CNI_SETTINGS,
    CONTAINERD,
    CONTAINERD_SOCKET,
    DIRECTORY,
    TLS_CIPHERS,
    cluster_of,
    data_directory,
    document,
    key_pair,
    on_disk,
    secret_file,
)
from playbooks.render.kubernetes.daemon import client
from playbooks.render.text import header_comment, join_lines
from playbooks.secrets import ClusterSecrets, Secrets

KUBELET_UNIT, PROXY_UNIT = "kubelet.service", "kube-proxy.service"
PKI = f"{DIRECTORY}/node"
"""Separate from the control plane's folder, which may be on the same host."""
AUTHORITY_FILE = f"{PKI}/ca.crt"
KUBELET_CONFIG, KUBELET_CLIENT = f"{DIRECTORY}/kubelet.yaml", f"{DIRECTORY}/kubelet.conf"
PROXY_CONFIG, PROXY_CLIENT = f"{DIRECTORY}/proxy.yaml", f"{DIRECTORY}/proxy.conf"
BRIDGE = "cni0"
PREPARE_CGROUPS = f"{host_programs.DIRECTORY}/cgroups-prepare"
READY_WAIT_S = 120

KERNEL = {"kernel.panic": "10", "kernel.panic_on_oops": "1", "vm.overcommit_memory": "1"}
"""Settings that a kubelet requires. A nested host cannot set them: the owner of its kernel must."""


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the node. Raise ValueError if the host is not a node."""
    wanted, cluster = cluster_of(estate, host), secrets.clusters[host.at]
    return RoleSpec(
        role="kubernetes_node",
        settings={
            "version": wanted.version,
            "node": host.name,
            "kubeconfig": KUBELET_CLIENT,
            "ready_wait_s": READY_WAIT_S,
        },
        files=(
            *_network(estate, plan, host),
            *_kubelet(estate, plan, host, cluster),
            *_proxy(estate, plan, host, cluster),
        ),
        units=(Unit(name=KUBELET_UNIT), Unit(name=PROXY_UNIT)),
        sysctls={} if host.platform.nested else KERNEL,
    )


def _network(estate: Estate, plan: AddressPlan, host: Host) -> tuple[File, ...]:
    found = [
        File(path=f"{CNI_SETTINGS}/10-govcloud.conflist", text=pod_network(plan, host)),
        File(
            path=f"{nftables.FRAGMENTS}/60-kubernetes.nft",
            text=fragment(estate, plan, host),
            validate="/usr/sbin/nft -c -f %s",
            notify=nftables.RELOAD,
        ),
    ]
    if len(estate.nodes_at(host.at)) > 1:
        path = f"{networkd.FOLDER}/10-lan0.network.d/60-kubernetes.conf"
        found.append(File(path=path, text=routes(estate, plan, host), notify=networkd.RELOAD))
    return tuple(found)


def pod_network(plan: AddressPlan, host: Host) -> str:
    """Return CNI's settings. The list of used pod addresses is lost with the power, as the pods' networks are."""
    own = plan.clusters[host.at].nodes[host.name]
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": True,
        "ipMasqBackend": "nftables",
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": str(own.ipv4)}], [{"subnet": str(own.ipv6)}]],
        },
    }
    ports = {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": True}}
    settings = {"cniVersion": "1.0.0", "name": "govcloud", "plugins": [bridge, ports]}
    return json.dumps(settings, indent=2) + "\n"


def seen_by_pods(estate: Estate, plan: AddressPlan, site: str) -> tuple[str, ...]:
    """Return the source addresses of connections from the site's nodes, as a pod sees them.

    A connection comes through the bridge of the pod's own node, or from the address of another node.
    """
    found: list[str] = []
    for node in estate.nodes_at(site):
        pods, lan = plan.clusters[site].nodes[node.name], plan.lan(node.name)
        found += [str(lan.ipv4), str(lan.ipv6), str(pods.ipv4[1]), str(pods.ipv6[1])]
    return tuple(found)


def routes(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return routes to the pods of the site's other nodes."""
    parts = []
    for other in estate.nodes_at(host.at):
        if other != host:
            pods, via = plan.clusters[host.at].nodes[other.name], plan.lan(other.name)
            for destination, gateway in ((pods.ipv4, via.ipv4), (pods.ipv6, via.ipv6)):
                parts += ["", "[Route]", f"Destination={destination}", f"Gateway={gateway}"]
    return header_comment("Routes to the pods of other nodes", host.name) + join_lines(parts)


def fragment(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return the filter: the pods' access to the host, and forwarding.

    Pods may connect outwards and the site's nodes may connect to pods. Nothing else is forwarded.
    """
    pods = plan.clusters[host.at].pods
    nodes = [plan.lan(node.name) for node in estate.nodes_at(host.at)]
    nodes4, nodes6 = (", ".join(str(a) for a in found) for found in ([n.ipv4 for n in nodes], [n.ipv6 for n in nodes]))
    inwards = []
    if estate.is_control_plane(host):
        inwards = [
            f"ip saddr {pods.ipv4} tcp dport {API_PORT} accept",
            f"ip6 saddr {pods.ipv6} tcp dport {API_PORT} accept",
        ]
    forward = [
        "type filter hook forward priority filter; policy drop;",
        "# The management network is never routed.",
        'iifname "mgmt0" counter drop',
        'oifname "mgmt0" counter drop',
        "ct state established,related accept",
        f'iifname "{BRIDGE}" ip saddr {pods.ipv4} accept',
        f'iifname "{BRIDGE}" ip6 saddr {pods.ipv6} accept',
        f'oifname "{BRIDGE}" ip saddr {{ {nodes4}, {pods.ipv4} }} accept',
        f'oifname "{BRIDGE}" ip6 saddr {{ {nodes6}, {pods.ipv6} }} accept',
        "counter drop",
    ]
    chains = (*_chain("input_extra", inwards), *_chain("forward", forward))
    return header_comment("Pods in the packet filter", host.name) + join_lines("", "table inet govcloud {", chains, "}")


def _chain(name: str, rules: list[str]) -> list[str]:
    return [f"    chain {name} {{", *(f"        {rule}" for rule in rules), "    }"] if rules else []


def _identity(name: str, path: str, cluster: ClusterSecrets, notify: tuple[str, ...]) -> tuple[File, File]:
    pair = key_pair(cluster, name)
    return (
        File(path=f"{PKI}/{path}.crt", text=pair.cert, notify=notify),
        secret_file(f"{PKI}/{path}.key", pair.key, notify=notify),
    )


def _kubelet(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart = (f"restart:{KUBELET_UNIT}",)
    found = (
        File(path=AUTHORITY_FILE, text=cluster.authority, notify=restart),
        *_identity(pki.node(host), "kubelet", cluster, restart),
        client(estate, plan, host, "kubelet", path=KUBELET_CLIENT, notify=restart, folder=PKI),
        File(path=KUBELET_CONFIG, text=kubelet(host), mode="0600", notify=restart),
        File(path=f"/etc/systemd/system/{KUBELET_UNIT}", text=kubelet_unit(plan, host), notify=restart),
    )
    if host.platform.nested:
        return (File(path=PREPARE_CGROUPS, text=host_programs.source("cgroups_prepare"), mode="0755"), *found)
    return found


def cgroup_root(host: Host) -> str:
    """Return the parent group of all pods. A nested host uses a name that no other machine on the same kernel has."""
    return f"/kubernetes-{host.name}" if host.platform.nested else "/"


def kubelet(host: Host) -> str:
    """Return the kubelet's settings. It serves only clients that the API server authenticates and authorises."""
    nested = host.platform.nested
    return header_comment("kubelet", host.name) + document(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True, "cacheTTL": "2m0s"},
                "x509": {"clientCAFile": AUTHORITY_FILE},
            },
            "authorization": {
                "mode": "Webhook",
                "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
            },
            "tlsCertFile": f"{PKI}/kubelet.crt",
            "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
            "tlsMinVersion": "VersionTLS12",
            "tlsCipherSuites": list(TLS_CIPHERS),
            # The stacks issue the certificates and renew them long before they end.
            "rotateCertificates": False,
            "serverTLSBootstrap": False,
            "readOnlyPort": 0,
            "address": "::",
            "healthzBindAddress": "127.0.0.1",
            "streamingConnectionIdleTimeout": "5m0s",
            "protectKernelDefaults": True,
            "makeIPTablesUtilChains": True,
            "eventRecordQPS": 50,
            "seccompDefault": True,
            "podPidsLimit": 512,
            "maxPods": 60,
            "cgroupDriver": "cgroupfs" if nested else "systemd",
            "cgroupRoot": cgroup_root(host),
            "failCgroupV1": host.platform.cgroups == "v2",
            # A nested host sees the swap of its kernel, which is not its own.
            "failSwapOn": not nested,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "clusterDomain": "cluster.local",
            # No workload resolves names: addresses are settings.
            "resolvConf": "",
            "serializeImagePulls": False,
            "containerLogMaxSize": "5Mi",
            "containerLogMaxFiles": 3,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "5%", "imagefs.available": "5%"},
            "imageGCHighThresholdPercent": 80,
            "imageGCLowThresholdPercent": 70,
        }
    )


def kubelet_unit(plan: AddressPlan, host: Host) -> str:
    """Return the kubelet's unit.

    Its state, the pods' volumes, is on the data disk. Pods keep running while it restarts.
    """
    lan = plan.lan(host.name)
    prepare = f"ExecStartPre={PREPARE_CGROUPS} {cgroup_root(host)}\n" if host.platform.nested else ""
    return f"""{header_comment("kubelet", host.name)}[Unit]
Description=Kubernetes node agent
Wants={CONTAINERD}
After=network-online.target {CONTAINERD}
{on_disk(host)}StartLimitIntervalSec=0

[Service]
Type=notify
{prepare}ExecStart=/usr/local/bin/kubelet \\
    --config={KUBELET_CONFIG} \\
    --kubeconfig={KUBELET_CLIENT} \\
    --hostname-override={host.name} \\
    --node-ip={lan.ipv4},{lan.ipv6} \\
    --root-dir={data_directory(host, "kubelet")}
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
OOMScoreAdjust=-999
LimitNOFILE=1048576
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target
"""


def _proxy(estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets) -> tuple[File, ...]:
    restart = (f"restart:{PROXY_UNIT}",)
    return (
        *_identity(pki.PROXY, "proxy", cluster, restart),
        client(estate, plan, host, "proxy", path=PROXY_CLIENT, notify=restart, folder=PKI),
        File(path=PROXY_CONFIG, text=proxy(plan, host), mode="0600", notify=restart),
        File(path=f"/etc/systemd/system/{PROXY_UNIT}", text=proxy_unit(host), notify=restart),
    )


def proxy(plan: AddressPlan, host: Host) -> str:
    """Return kube-proxy's settings. The owner of the kernel sets the limits of connection tracking."""
    pods = plan.clusters[host.at].pods
    return header_comment("kube-proxy", host.name) + document(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": PROXY_CLIENT},
            "hostnameOverride": host.name,
            "mode": "nftables",
            "clusterCIDR": f"{pods.ipv4},{pods.ipv6}",
            "detectLocalMode": "ClusterCIDR",
            "nodePortAddresses": ["primary"],
            "bindAddress": "0.0.0.0",
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "enableProfiling": False,
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"syncPeriod": "30s", "minSyncPeriod": "1s"},
        }
    )


def proxy_unit(host: Host) -> str:
    """Return kube-proxy's unit. Bridged packets pass the filter too: else an answer between neighbours has no NAT."""
    return f"""{header_comment("kube-proxy", host.name)}[Unit]
Description=Kubernetes Services on a node
After=network-online.target nftables.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStartPre=-/usr/sbin/modprobe br_netfilter
ExecStartPre=/usr/sbin/sysctl -q -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
ExecStart=/usr/local/bin/kube-proxy --config={PROXY_CONFIG}
Restart=always
RestartSec=1
CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_MODULE
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
RestrictNamespaces=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""
