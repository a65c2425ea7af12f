"""Kubernetes as rendered: golden files, and rules that must be true for any estate.

After an intended change: GOVCLOUD_GOLDEN=write pytest tests/unit/playbooks/test_render_kubernetes.py
"""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from estate.addressing import plan
from estate.model import Estate, Platform
from playbooks import pki
from playbooks.render import containerd, registry, sysctls
from playbooks.render.kubernetes import control_plane
from playbooks.render.kubernetes import node as kubernetes_node
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.kubernetes.kubeconfig import bureau_kubeconfig, operator_kubeconfig
from playbooks.role_assignment import CLUSTER_ROLES, host_spec
from playbooks.secrets import OPERATOR
from tests import golden
from tests.image_programs import accepts
from tests.unit.playbooks.clusters import (
    OLD,
    files_of,
    flags_of,
    roles_of,
    secrets_of,
    switched_on,
    with_second_node,
)

UNITS = "/etc/systemd/system"


@pytest.fixture(scope="module")
def on(estate: Estate) -> Estate:
    """Return the estate with a cluster at every site."""
    return switched_on(estate)


@pytest.fixture(scope="module")
def two(on: Estate) -> Estate:
    """Return the same estate with two nodes in futian."""
    return with_second_node(on, "futian")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/containerd/config.toml",
        "/etc/containerd/certs.d/registry.govcloud/hosts.toml",
        f"{UNITS}/containerd.service",
        "/etc/docker/registry/config.yml",
        f"{UNITS}/docker-registry.service.d/60-govcloud.conf",
        "/etc/govcloud/registry-clean.json",
        f"{UNITS}/govcloud-registry-clean.service",
        f"{UNITS}/govcloud-registry-clean.timer",
        f"{UNITS}/kubernetes-etcd.service",
        f"{UNITS}/kube-apiserver.service",
        f"{UNITS}/kube-controller-manager.service",
        f"{UNITS}/kube-scheduler.service",
        f"{UNITS}/kubernetes-access.service",
        "/etc/kubernetes/admission.yaml",
        "/etc/kubernetes/audit.yaml",
        "/etc/kubernetes/access.yaml",
        "/etc/kubernetes/controllers.conf",
        "/etc/kubernetes/kubelet.yaml",
        f"{UNITS}/kubelet.service",
        "/etc/kubernetes/proxy.yaml",
        f"{UNITS}/kube-proxy.service",
        "/etc/cni/net.d/10-govcloud.conflist",
        "/etc/nftables.d/60-kubernetes.nft",
        "/etc/nftables.conf",
    ],
)
def test_a_site_with_one_node_matches_its_golden_files(on: Estate, path: str) -> None:
    golden.same(files_of(on, "nanshan-kube1")[path].text, f"kubernetes/nanshan-kube1/{Path(path).name}")


def test_a_site_at_the_older_version_has_the_same_settings(estate: Estate, on: Estate) -> None:
    """The settings are valid in both versions: the integration test of the upgrade proves it with the programs
    themselves.

    An upgrade replaces only programs. Render a setting that one of the versions lacks by version, with golden files.
    """
    older = roles_of(switched_on(estate, version=OLD), "nanshan-kube1")
    for name, role in roles_of(on, "nanshan-kube1").items():
        assert (role.files, role.units, role.sysctls) == (older[name].files, older[name].units, older[name].sysctls)
    assert older["kubernetes_node"].settings["version"] == OLD


@pytest.mark.parametrize(
    "path",
    [
        "/etc/containerd/certs.d/registry.govcloud/hosts.toml",
        "/etc/kubernetes/kubelet.conf",
        "/etc/systemd/network/10-lan0.network.d/60-kubernetes.conf",
        "/etc/nftables.d/60-kubernetes.nft",
        "/etc/nftables.conf",
    ],
)
def test_a_second_node_matches_its_golden_files(two: Estate, path: str) -> None:
    golden.same(files_of(two, "futian-kube2")[path].text, f"kubernetes/futian-kube2/{Path(path).name}")


def test_without_an_entry_in_the_estate_no_cluster_is_deployed(estate: Estate) -> None:
    """The project's own estate may have no cluster. A site without an entry has none, even if another site has one."""
    off = switched_on(estate, "shaoguan")
    for host in ("futian-kube1", "nanshan-kube1"):
        assert not CLUSTER_ROLES & set(roles_of(off, host))
        assert "6443" not in files_of(off, host)["/etc/nftables.conf"].text
        assert sysctls.of(off, off.host(host))["net.ipv4.ip_forward"] == "0"
    assert set(roles_of(off, "shaoguan-kube1")) >= CLUSTER_ROLES


def test_the_first_kube_host_has_the_control_plane_and_the_others_are_nodes(two: Estate) -> None:
    assert set(roles_of(two, "futian-kube1")) >= CLUSTER_ROLES
    assert set(roles_of(two, "futian-kube2")) & CLUSTER_ROLES == {"containerd", "kubernetes_node"}


def test_all_roles_of_a_host_agree(two: Estate) -> None:
    """If two roles wanted one thing differently, every update would change it back and forth."""
    for host in ("futian-kube1", "futian-kube2", "shaoguan-kube1"):
        for stack in ("network", "site"):
            host_spec(two, host, stack, secrets_of(two))
        paths = [file.path for role in roles_of(two, host).values() for file in role.files]
        assert len(paths) == len(set(paths))


def test_hosts_that_are_not_nodes_are_refused(on: Estate) -> None:
    addresses, secrets = plan(on), secrets_of(on)
    for host in (on.host("futian-data1"), on.host("futian-edge1")):
        with pytest.raises(ValueError, match=host.name):
            containerd.role_spec(on, addresses, host)
        for role in (registry, control_plane, kubernetes_node):
            with pytest.raises(ValueError, match=host.name):
                role.role_spec(on, addresses, host, secrets)


def test_no_sites_certificate_or_key_is_on_another_sites_host(on: Estate) -> None:
    for site in on.sites:
        others = [other.name for other in on.sites if other != site]
        texts = [file.text for file in files_of(on, f"{site.name}-kube1").values()]
        assert any(f"key of {site.name} apiserver" in text for text in texts)
        assert not [text for text in texts for other in others if f"of {other} " in text or f"of {other}'s" in text]


def test_keys_are_secret_files_that_only_their_owner_reads(two: Estate) -> None:
    for host in ("futian-kube1", "futian-kube2"):
        for path, file in files_of(two, host).items():
            if "key of futian " in file.text or "encryption" in path:
                assert file.secret, path
                assert file.mode == "0400", path


def test_a_node_that_is_not_the_first_has_only_its_own_keys(two: Estate) -> None:
    texts = [file.text for file in files_of(two, "futian-kube2").values() if "key of futian " in file.text]
    assert sorted(texts) == ["key of futian node-futian-kube2\n", "key of futian proxy\n"]


def test_the_authoritys_users_and_groups_are_those_of_kubernetes(two: Estate) -> None:
    leaves = {leaf.name: leaf for leaf in kubernetes_pki.leaves(two, plan(two), "futian")}
    assert leaves["node-futian-kube2"].subject == "system:node:futian-kube2"
    assert leaves["node-futian-kube2"].organizations == ("system:nodes",)
    assert [leaf.name for leaf in leaves.values() if "system:masters" in leaf.organizations] == ["admin"]
    assert leaves[OPERATOR].organizations == ("govcloud:operators",)
    computed = plan(two)
    assert {str(computed.management("futian-kube1")), "10.64.1.11", "fd64:c10d:0:1::11", "10.192.16.1"} <= set(
        leaves["apiserver"].sans
    )


def test_an_issued_certificate_carries_its_groups(two: Estate) -> None:
    key, cert = pki.new_authority("cluster", 2)
    leaf = next(leaf for leaf in kubernetes_pki.leaves(two, plan(two), "futian") if leaf.name == OPERATOR)
    authority = pki.Authority(key=key, cert=cert)
    _, made = pki.issue(authority, leaf.subject, leaf.sans, 1, leaf.usages, leaf.organizations)
    from cryptography import x509

    assert x509.load_pem_x509_certificate(made.encode()).subject.rfc4514_string() == "CN=operator,O=govcloud:operators"


def test_every_cluster_has_its_own_etcd_separate_from_the_estates(on: Estate) -> None:
    for site in on.sites:
        flags = flags_of(files_of(on, f"{site.name}-kube1")[f"{UNITS}/kubernetes-etcd.service"].text)
        assert flags["initial-cluster"].count("=") == 1
        assert flags["listen-client-urls"] == "https://127.0.0.1:2381"
        assert flags["data-dir"] == "/srv/data/kubernetes-etcd"
    assert not [host for host in on.etcd_members if host.name.endswith("kube1")]


def test_no_site_needs_another_to_start_a_pod(on: Estate) -> None:
    """A node reads no file with an address of another site."""
    computed = plan(on)
    for site in on.sites:
        foreign = [ip_network(str(computed.segments[other.name].ipv4)) for other in on.sites if other != site]
        roles = roles_of(on, f"{site.name}-kube1")
        for role in sorted(CLUSTER_ROLES):
            for file in roles[role].files:
                for word in file.text.replace("/", " ").replace(":", " ").replace(",", " ").split():
                    if word.count(".") == 3 and word.replace(".", "").isdigit():
                        assert not any(ip_address(word) in network for network in foreign), file.path


def test_data_is_on_the_hosts_data_disk_and_units_wait_for_it(on: Estate) -> None:
    files = files_of(on, "futian-kube1")
    assert tomllib.loads(files["/etc/containerd/config.toml"].text)["root"] == "/srv/data/containerd"
    document = yaml.safe_load(files["/etc/docker/registry/config.yml"].text)
    assert document["storage"]["filesystem"]["rootdirectory"] == "/srv/data/registry"
    for unit in ("containerd.service", "kubernetes-etcd.service", "kubelet.service"):
        assert "AssertPathIsMountPoint=/srv/data\n" in files[f"{UNITS}/{unit}"].text


def test_blobs_are_collected_before_the_registry_accepts_a_push_and_manifests_without_a_tag_stay(on: Estate) -> None:
    """Our manifests have no tag. During a push, the collection would remove the blobs that were just pushed."""
    text = files_of(on, "futian-kube1")[f"{UNITS}/docker-registry.service.d/60-govcloud.conf"].text
    lines = [line for line in text.splitlines() if "garbage-collect" in line]
    assert lines == ["ExecStartPre=-/usr/bin/docker-registry garbage-collect /etc/docker/registry/config.yml"]
    units = {unit.name for unit in roles_of(on, "futian-kube1")["registry"].units}
    assert units == {"docker-registry.service", "govcloud-registry-clean.timer"}


def test_pods_have_both_families_from_their_nodes_own_prefix(two: Estate) -> None:
    networks = []
    for host in ("futian-kube1", "futian-kube2"):
        settings = json.loads(files_of(two, host)["/etc/cni/net.d/10-govcloud.conflist"].text)
        ranges = [ip_network(entry[0]["subnet"]) for entry in settings["plugins"][0]["ipam"]["ranges"]]
        assert [network.version for network in ranges] == [4, 6]
        networks += ranges
    for one in networks:
        assert not [
            other for other in networks if one is not other and one.version == other.version and one.overlaps(other)
        ]  # type: ignore[arg-type]


def test_a_node_has_routes_to_the_pods_of_other_nodes_only_if_there_are_others(two: Estate) -> None:
    path = "/etc/systemd/network/10-lan0.network.d/60-kubernetes.conf"
    text = files_of(two, "futian-kube1")[path].text
    assert "Destination=10.129.12.0/24\nGateway=10.64.1.12\n" in text
    assert "Destination=fd64:c10d:3:10c::/64\nGateway=fd64:c10d:0:1::12\n" in text
    assert path not in files_of(two, "shaoguan-kube1")


def test_secrets_are_encrypted_under_a_key_made_from_the_password(on: Estate) -> None:
    text = files_of(on, "futian-kube1")["/etc/kubernetes/encryption.yaml"].text
    provider = yaml.safe_load(text)["resources"][0]["providers"][0]
    key = base64.b64decode(provider["secretbox"]["keys"][0]["secret"])
    assert key == hashlib.sha256(b"encryption password of futian").digest()
    assert "password" not in text


def test_a_host_with_its_own_kernel_uses_features_that_a_nested_one_may_not(on: Estate) -> None:
    real = on.host("futian-kube1").model_copy(update={"platform": Platform(cgroups="v2")})
    estate = on.model_copy(update={"hosts": tuple(real if h.name == real.name else h for h in on.hosts)})
    settings = yaml.safe_load(files_of(estate, "futian-kube1")["/etc/kubernetes/kubelet.yaml"].text)
    assert (settings["cgroupDriver"], settings["cgroupRoot"], settings["failCgroupV1"]) == ("systemd", "/", True)
    assert settings["failSwapOn"] is True
    assert roles_of(estate, "futian-kube1")["kubernetes_node"].sysctls == kubernetes_node.KERNEL
    assert "SystemdCgroup = true" in files_of(estate, "futian-kube1")["/etc/containerd/config.toml"].text
    nested = yaml.safe_load(files_of(on, "futian-kube1")["/etc/kubernetes/kubelet.yaml"].text)
    assert (nested["cgroupDriver"], nested["cgroupRoot"]) == ("cgroupfs", "/kubernetes-futian-kube1")
    assert not roles_of(on, "futian-kube1")["kubernetes_node"].sysctls


def test_the_operators_configuration_reaches_the_api_over_the_management_network(on: Estate) -> None:
    document = yaml.safe_load(operator_kubeconfig(on, plan(on), "nanshan", secrets_of(on).clusters["nanshan"]))
    assert document["clusters"][0]["cluster"]["server"] == f"https://{plan(on).management('nanshan-kube1')}:6443"
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]) == b"key of nanshan operator\n"
    assert document["current-context"] == "nanshan"


def test_a_bureaus_users_have_only_their_group(on: Estate) -> None:
    """Their certificate is only for clients, and their kubeconfig selects their namespace."""
    leaves = {leaf.name: leaf for leaf in kubernetes_pki.leaves(on, plan(on), "nanshan")}
    for bureau in on.bureaus:
        leaf = leaves[kubernetes_pki.bureau(bureau.name)]
        assert (leaf.organizations, leaf.usages, leaf.sans) == ((bureau.group,), ("client",), ())
    secrets = secrets_of(on).clusters["nanshan"]
    own = secrets.certificates[kubernetes_pki.bureau("human-resources")]
    text = bureau_kubeconfig(on, plan(on), "nanshan", "human-resources", secrets.authority, own)
    document = yaml.safe_load(text)
    assert document["contexts"][0]["context"]["namespace"] == "human-resources"
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]).endswith(b"bureau-human-resources\n")


def test_the_packet_filter_is_accepted_by_nft(two: Estate, tmp_path: Path) -> None:
    """Fragments and main file together, as the host loads them."""
    files = files_of(two, "futian-kube1")
    for name in ("60-ingress.nft", "60-kubernetes.nft"):
        (tmp_path / name).write_text(files[f"/etc/nftables.d/{name}"].text)
    main = tmp_path / "nftables.conf"
    main.write_text(files["/etc/nftables.conf"].text.replace("/etc/nftables.d", str(tmp_path)))
    accepts("nft", "-c", "-f", main)
