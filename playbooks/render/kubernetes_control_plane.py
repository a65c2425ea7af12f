"""Role kubernetes_control_plane: etcd, API server, controllers and scheduler of one site's cluster, as systemd units.

Each daemon has an account of its own and reads only its own keys. etcd and the local ports listen on the loopback
address; only the API server is reached from outside. One instance of each, so nobody elects a leader: after a loss of
power they work as soon as they run.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.host_spec import Account, RoleSpec, Unit
from playbooks.render import kubernetes, kubernetes_access, kubernetes_api, kubernetes_etcd
from playbooks.render.kubernetes_access import ACCESS_UNIT, ADMIN_CONFIG
from playbooks.render.kubernetes_api import API_ACCOUNT, API_UNIT
from playbooks.render.kubernetes_controllers import (
    CONTROLLERS_ACCOUNT,
    CONTROLLERS_UNIT,
    SCHEDULER_ACCOUNT,
    SCHEDULER_UNIT,
    controllers,
    scheduler,
)
from playbooks.render.kubernetes_etcd import ETCD_ACCOUNT, ETCD_UNIT
from playbooks.secrets import Secrets

READY_WAIT_S = 90


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """The control plane on `host`. Raises ValueError where the estate does not place one there."""
    if not kubernetes.is_control_plane(estate, host):
        raise ValueError(f"{host.name} has no control plane")
    cluster = secrets.clusters[host.at]
    return RoleSpec(
        role="kubernetes_control_plane",
        settings={
            "version": kubernetes.cluster_of(estate, host).version,
            "kubeconfig": ADMIN_CONFIG,
            "ready_wait_s": READY_WAIT_S,
        },
        files=(
            *kubernetes_etcd.files(host, cluster),
            *kubernetes_api.files(estate, plan, host, cluster),
            *controllers(estate, plan, host, cluster),
            *scheduler(estate, plan, host, cluster),
            *kubernetes_access.files(estate, plan, host, cluster),
        ),
        units=tuple(Unit(name=n) for n in (ETCD_UNIT, API_UNIT, CONTROLLERS_UNIT, SCHEDULER_UNIT, ACCESS_UNIT)),
        accounts=tuple(
            Account(name=name) for name in (ETCD_ACCOUNT, API_ACCOUNT, CONTROLLERS_ACCOUNT, SCHEDULER_ACCOUNT)
        ),
    )
