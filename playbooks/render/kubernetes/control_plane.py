"""Role kubernetes_control_plane: etcd, API server, controllers and scheduler of one site's cluster, as systemd units.

Each daemon has its own account and reads only its own keys. etcd and the local ports listen on the loopback address;
other hosts reach only the API server. There is one instance of each, so no leader election is needed: after a power
loss the daemons work as soon as they run.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.host_spec import Account, RoleSpec, Unit
from playbooks.render.kubernetes import api_server, etcd, rbac
from playbooks.render.kubernetes.api_server import API_ACCOUNT, API_UNIT
from playbooks.render.kubernetes.cluster import cluster_of
from playbooks.render.kubernetes.controllers import (
    CONTROLLERS_ACCOUNT,
    CONTROLLERS_UNIT,
    SCHEDULER_ACCOUNT,
    SCHEDULER_UNIT,
    controllers,
    scheduler,
)
from playbooks.render.kubernetes.etcd import ETCD_ACCOUNT, ETCD_UNIT
from playbooks.render.kubernetes.rbac import ACCESS_UNIT, ADMIN_CONFIG
from playbooks.secrets import Secrets

READY_WAIT_S = 90


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the control plane on `host`. Raise ValueError if the estate does not place one there."""
    if not estate.is_control_plane(host):
        raise ValueError(f"{host.name} has no control plane")
    cluster = secrets.clusters[host.at]
    return RoleSpec(
        role="kubernetes_control_plane",
        settings={
            "version": cluster_of(estate, host).version,
            "kubeconfig": ADMIN_CONFIG,
            "ready_wait_s": READY_WAIT_S,
        },
        files=(
            *etcd.files(host, cluster),
            *api_server.files(estate, plan, host, cluster),
            *controllers(estate, plan, host, cluster),
            *scheduler(estate, plan, host, cluster),
            *rbac.files(estate, plan, host, cluster),
        ),
        units=tuple(Unit(name=n) for n in (ETCD_UNIT, API_UNIT, CONTROLLERS_UNIT, SCHEDULER_UNIT, ACCESS_UNIT)),
        accounts=tuple(
            Account(name=name) for name in (ETCD_ACCOUNT, API_ACCOUNT, CONTROLLERS_ACCOUNT, SCHEDULER_ACCOUNT)
        ),
    )
