"""The project's estate with Kubernetes clusters, and secrets whose texts are their names."""

from __future__ import annotations

from estate import versions
from estate.addressing import plan
from estate.model import Backend, Bureau, Cluster, Estate, Gateway, Host, HostRole, Quota, Title
from playbooks.host_spec import File, RoleSpec
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.pki import gateway_certificate
from playbooks.role_assignment import roles
from playbooks.secrets import OPERATOR, Certificate, ClusterSecrets, Secrets, password_names

OLD, VERSION = versions.KUBERNETES


def monitoring_hosts(estate: Estate) -> tuple[Host, ...]:
    """Return the hosts that run Prometheus."""
    return tuple(host for host in estate.managed_hosts if host.kind is HostRole.OPS)


def switched_on(estate: Estate, *sites: str, version: str = VERSION) -> Estate:
    """Return the estate with a cluster at these sites, by default at all sites."""
    assert estate.kubernetes
    wanted = sites or tuple(site.name for site in estate.sites)
    clusters = tuple(Cluster(site=site, version=version) for site in wanted)
    return estate.model_copy(update={"kubernetes": estate.kubernetes.model_copy(update={"clusters": clusters})})


def with_second_node(estate: Estate, site: str) -> Estate:
    """Return the estate with one more kube host at the site."""
    first = estate.host(f"{site}-kube1")
    second = first.model_copy(update={"name": f"{site}-kube2", "number": first.number + 1})
    return estate.model_copy(update={"hosts": (*estate.hosts, second)})


def with_gateway(estate: Estate) -> Estate:
    """Return the estate with a bureau `planning`, whose gateway serves two workloads under three names."""
    records, maps = Backend(pods="records", port=8080), Backend(pods="maps", port=9000)
    hosts = {"records.planning.govcloud": records, "maps.planning.govcloud": maps, "m.planning.govcloud": maps}
    bureau = Bureau(
        name="planning",
        title=Title(zh="市规划和自然资源局", en="Planning"),
        quota=Quota(cpus=0.5, memory_mib=256, pods=6),
        gateway=Gateway(number=1, hosts=hosts),
    )
    return estate.model_copy(update={"bureaus": (*estate.bureaus, bureau)})


def secrets_of(estate: Estate) -> Secrets:
    """Return certificates and keys whose texts contain the name of their owner."""
    gateways = [gateway_certificate(bureau.name) for bureau in estate.bureaus if bureau.gateway]
    return Secrets(
        authority="authority\n",
        certificates={
            name: Certificate(cert=f"cert of {name}\n", key=f"key of {name}\n")
            for name in (*(host.name for host in estate.hosts), OPERATOR, *gateways)
        },
        passwords={name: f"password of {name}" for name in password_names(estate)},
        clusters={cluster.site: _cluster(estate, cluster.site) for cluster in estate.clusters},
    )


def _cluster(estate: Estate, site: str) -> ClusterSecrets:
    leaves = (*kubernetes_pki.leaves(estate, plan(estate), site), *kubernetes_pki.etcd_leaves())
    return ClusterSecrets(
        authority=f"authority of {site}'s cluster\n",
        etcd_authority=f"authority of {site}'s etcd\n",
        certificates={
            leaf.name: Certificate(cert=f"cert of {site} {leaf.name}\n", key=f"key of {site} {leaf.name}\n")
            for leaf in leaves
        },
        encryption=f"encryption password of {site}",
    )


def roles_of(estate: Estate, host: str) -> dict[str, RoleSpec]:
    """Return the roles of the stacks network and site on one host, by role name."""
    secrets = secrets_of(estate)
    return {role.role: role for stack in ("network", "site") for role in roles(estate, host, stack, secrets)}


def files_of(estate: Estate, host: str) -> dict[str, File]:
    """Return all files of these roles by path."""
    return {file.path: file for role in roles_of(estate, host).values() for file in role.files}


def flags_of(unit: str) -> dict[str, str]:
    """Return the flags of a unit's program, by name."""
    words = (word.strip(" \\") for word in unit.splitlines())
    return dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
