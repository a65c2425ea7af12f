"""TCP ports on hosts. The renderers listen on them, the firewall opens them, and the monitors query them."""

from __future__ import annotations

SSH = 22
BGP = 179
HTTPS = 443
"""The sites' ingress, for citizens and for health checks."""
POSTGRESQL = 5432
PATRONI = 8008
"""Patroni's REST API."""
DATABASE_PRIMARY, DATABASE_LOCAL = 5432, 5433
"""Ports of a node's ingress, for its own pods only: to the primary, and to the site's own database member."""
ETCD_CLIENT, ETCD_PEER = 2379, 2380
"""The etcd cluster of Patroni and the locks. A Kubernetes cluster's own etcd listens on the loopback only."""
KUBERNETES_API, KUBELET, IMAGE_REGISTRY = 6443, 10250, 5000
INGRESS_METRICS = 8405
PROMETHEUS, BLACKBOX_EXPORTER, NODE_EXPORTER = 9090, 9115, 9100
