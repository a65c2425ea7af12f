"""Items of the CIS Kubernetes Benchmark, checked in the rendered configuration. Test names start with the item's
number.

Items on file permissions of packaged clusters are checked on the files that our roles write. Items that only a running
cluster can answer are in tests/integration/clusters.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from estate.model import Estate
from playbooks.host_spec import File
from tests.unit.playbooks.clusters import files_of, flags_of, switched_on

UNITS = "/etc/systemd/system"
Files = dict[str, File]
Flags = dict[str, str]


@pytest.fixture(scope="module")
def files(estate: Estate) -> Files:
    """Return all files of a node with a control plane."""
    return files_of(switched_on(estate), "futian-kube1")


@pytest.fixture(scope="module")
def api(files: Files) -> Flags:
    """Return the API server's flags."""
    return flags_of(files[f"{UNITS}/kube-apiserver.service"].text)


@pytest.fixture(scope="module")
def controllers(files: Files) -> Flags:
    """Return the controllers' flags."""
    return flags_of(files[f"{UNITS}/kube-controller-manager.service"].text)


@pytest.fixture(scope="module")
def scheduler(files: Files) -> Flags:
    """Return the scheduler's flags."""
    return flags_of(files[f"{UNITS}/kube-scheduler.service"].text)


@pytest.fixture(scope="module")
def etcd(files: Files) -> Flags:
    """Return the flags of the cluster's etcd."""
    return flags_of(files[f"{UNITS}/kubernetes-etcd.service"].text)


@pytest.fixture(scope="module")
def kubelet(files: Files) -> dict[str, Any]:
    """Return the kubelet's settings."""
    return dict(yaml.safe_load(files["/etc/kubernetes/kubelet.yaml"].text))


def plugins(api: Flags) -> list[str]:
    """Return the admission plugins that are enabled in addition to the defaults."""
    return api["enable-admission-plugins"].split(",")


# 1.1 Files of the control plane


def test_1_1_only_their_owner_writes_the_control_planes_files(files: Files) -> None:
    for path, file in files.items():
        if path.startswith("/etc/kubernetes/"):
            assert int(file.mode, 8) & 0o022 == 0, path


def test_1_1_13_only_their_owner_reads_kubeconfigs(files: Files) -> None:
    configs = [file for path, file in files.items() if path.startswith("/etc/kubernetes/") and path.endswith(".conf")]
    assert len(configs) >= 5
    assert all(file.mode == "0600" for file in configs)


def test_1_1_20_certificates_are_not_writable_and_1_1_21_keys_are_their_owners_alone(files: Files) -> None:
    found = [(path, file) for path, file in files.items() if path.startswith("/etc/kubernetes/")]
    assert all(int(file.mode, 8) & 0o133 == 0 for path, file in found if path.endswith(".crt"))
    keys = [file for path, file in found if path.endswith(".key")]
    assert len(keys) >= 10
    assert all(file.mode == "0400" and file.secret for file in keys)


# 1.2 API server


def test_1_2_1_anonymous_requests_are_refused(api: Flags) -> None:
    assert api["anonymous-auth"] == "false"


def test_1_2_2_there_are_no_static_tokens(api: Flags) -> None:
    assert "token-auth-file" not in api
    assert "enable-bootstrap-token-auth" not in api


def test_1_2_3_users_cannot_set_external_addresses_of_services(files: Files, api: Flags) -> None:
    """The bridge forwards only packets from nodes and pods of the site, so such an address would have no route."""
    assert "DenyServiceExternalIPs" in plugins(api)


def test_1_2_4_the_api_server_authenticates_to_kubelets(api: Flags) -> None:
    assert api["kubelet-client-certificate"].endswith(".crt")
    assert api["kubelet-client-key"].endswith(".key")


def test_1_2_5_kubelets_authenticate_to_the_api_server(api: Flags) -> None:
    assert api["kubelet-certificate-authority"].endswith("ca.crt")


def test_1_2_6_to_8_authorisation_is_node_and_rbac_and_never_always(api: Flags) -> None:
    assert api["authorization-mode"].split(",") == ["Node", "RBAC"]


def test_1_2_9_events_are_limited(api: Flags, files: Files) -> None:
    assert "EventRateLimit" in plugins(api)
    configured = [plugin["name"] for plugin in yaml.safe_load(files["/etc/kubernetes/admission.yaml"].text)["plugins"]]
    assert "EventRateLimit" in configured


def test_1_2_10_always_admit_is_off(api: Flags) -> None:
    assert "AlwaysAdmit" not in plugins(api)


def test_1_2_12_service_accounts_and_13_namespaces_keep_their_admission(api: Flags) -> None:
    assert "disable-admission-plugins" not in api


def test_1_2_14_nodes_change_only_their_own_objects(api: Flags) -> None:
    assert "NodeRestriction" in plugins(api)


def test_1_2_15_profiling_is_off(api: Flags, controllers: Flags, scheduler: Flags) -> None:
    assert {flags["profiling"] for flags in (api, controllers, scheduler)} == {"false"}


def test_1_2_16_to_19_every_change_is_in_the_audit_log(api: Flags) -> None:
    assert api["audit-log-path"] == "/var/log/kubernetes/audit.log"
    assert int(api["audit-log-maxage"]) >= 30
    assert int(api["audit-log-maxbackup"]) >= 10
    assert int(api["audit-log-maxsize"]) >= 100


def test_1_2_20_requests_have_a_timeout(api: Flags) -> None:
    assert api["request-timeout"] == "60s"


def test_1_2_21_deleted_service_accounts_have_no_valid_tokens(api: Flags) -> None:
    assert api["service-account-lookup"] == "true"


def test_1_2_22_service_accounts_have_a_key_pair_of_their_own(api: Flags, files: Files) -> None:
    assert api["service-account-signing-key-file"] != api["tls-private-key-file"]
    assert files[api["service-account-key-file"]].text == "cert of futian service-accounts\n"


def test_1_2_23_and_26_the_api_server_and_etcd_authenticate_each_other(api: Flags) -> None:
    assert api["etcd-servers"].startswith("https://")
    assert all(api[f"etcd-{part}"] for part in ("cafile", "certfile", "keyfile"))


def test_1_2_24_and_25_users_and_servers_have_certificates(api: Flags) -> None:
    assert api["tls-cert-file"]
    assert api["tls-private-key-file"]
    assert api["client-ca-file"] == "/etc/kubernetes/pki/ca.crt"


def test_1_2_27_and_28_secrets_are_encrypted_at_rest_and_never_read_in_clear(api: Flags, files: Files) -> None:
    document = yaml.safe_load(files[api["encryption-provider-config"]].text)
    entry = next(one for one in document["resources"] if "secrets" in one["resources"])
    assert [list(provider) for provider in entry["providers"]] == [["secretbox"]]


def test_1_2_29_only_strong_ciphers_are_enabled(api: Flags, kubelet: dict[str, Any]) -> None:
    for ciphers in (api["tls-cipher-suites"].split(","), kubelet["tlsCipherSuites"]):
        assert ciphers
        assert all("ECDHE" in cipher and ("GCM" in cipher or "CHACHA20" in cipher) for cipher in ciphers)
    assert api["tls-min-version"] == kubelet["tlsMinVersion"] == "VersionTLS12"


# 1.3 Controllers, 1.4 scheduler


def test_1_3_1_finished_pods_are_collected(controllers: Flags) -> None:
    assert int(controllers["terminated-pod-gc-threshold"]) > 0


def test_5_1_1_monitoring_may_only_read_readiness(files: Files) -> None:
    objects = list(yaml.safe_load_all(files["/etc/kubernetes/access.yaml"].text))
    roles = {one["metadata"]["name"]: one["rules"] for one in objects if one["kind"] == "ClusterRole"}
    bound = [one for one in objects if one["kind"] == "ClusterRoleBinding" and "watchers" in one["metadata"]["name"]]
    assert [(one["roleRef"]["name"], one["subjects"][0]["name"]) for one in bound] == [("govcloud:watchers",) * 2]
    rights = roles["govcloud:watchers"]
    assert {verb for rule in rights for verb in rule["verbs"]} == {"get"}
    assert [rule.get("resources") or rule["nonResourceURLs"] for rule in rights] == [["/readyz"], ["nodes"]]


def test_5_1_1_the_clean_up_of_images_may_only_list_objects_with_image_references(files: Files) -> None:
    objects = list(yaml.safe_load_all(files["/etc/kubernetes/access.yaml"].text))
    roles = {one["metadata"]["name"]: one["rules"] for one in objects if one["kind"] == "ClusterRole"}
    rights = roles["govcloud:registry-clean"]
    assert {verb for rule in rights for verb in rule["verbs"]} == {"list"}
    asked = json.loads(files["/etc/govcloud/registry-clean.json"].text)["lists"]
    kinds = {(rule["apiGroups"][0], kind) for rule in rights for kind in rule["resources"]}
    assert {(path.split("/")[2] if path.startswith("/apis/") else "", path.split("/")[-1]) for path in asked} == kinds
    assert not {"secrets", "configmaps"} & {kind for _, kind in kinds}


def test_1_3_3_each_controller_has_rights_of_its_own(controllers: Flags) -> None:
    assert controllers["use-service-account-credentials"] == "true"


def test_1_3_4_and_5_tokens_are_signed_and_the_authority_is_distributed(controllers: Flags) -> None:
    assert controllers["service-account-private-key-file"].endswith(".key")
    assert controllers["root-ca-file"] == "/etc/kubernetes/pki/ca.crt"


def test_1_3_7_and_1_4_2_controllers_and_scheduler_listen_only_on_loopback(
    controllers: Flags, scheduler: Flags
) -> None:
    assert controllers["bind-address"] == scheduler["bind-address"] == "127.0.0.1"


# 2 etcd


def test_2_1_to_2_3_etcd_and_its_clients_have_certificates(etcd: Flags) -> None:
    assert etcd["client-cert-auth"] == "true"
    assert etcd["cert-file"]
    assert etcd["key-file"]
    assert "auto-tls" not in etcd


def test_2_4_to_2_6_etcd_members_have_certificates(etcd: Flags) -> None:
    assert etcd["peer-client-cert-auth"] == "true"
    assert etcd["peer-cert-file"]
    assert "peer-auto-tls" not in etcd


def test_2_7_etcd_has_an_authority_of_its_own(etcd: Flags, api: Flags, files: Files) -> None:
    assert etcd["trusted-ca-file"] == etcd["peer-trusted-ca-file"]
    assert files[etcd["trusted-ca-file"]].text != files[api["client-ca-file"]].text


# 3 Control plane


def test_3_2_1_and_2_there_is_an_audit_policy_that_records_secrets_without_their_content(
    api: Flags, files: Files
) -> None:
    rules = yaml.safe_load(files[api["audit-policy-file"]].text)["rules"]
    levels = [
        rule["level"]
        for rule in rules
        if rule["level"] != "None" and any("secrets" in entry["resources"] for entry in rule.get("resources", []))
    ]
    assert levels == ["Metadata"]
    assert rules[-1] == {"level": "Request"}
    assert not [rule for rule in rules if rule["level"] == "RequestResponse"]


# 4 Nodes


def test_4_1_only_root_reads_the_kubelets_files(files: Files) -> None:
    for path in ("/etc/kubernetes/kubelet.yaml", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/proxy.conf"):
        assert (files[path].owner, files[path].mode) == ("root", "0600")


def test_4_2_1_to_3_the_kubelet_authenticates_and_authorises_requests(kubelet: dict[str, Any]) -> None:
    assert kubelet["authentication"]["anonymous"]["enabled"] is False
    assert kubelet["authentication"]["webhook"]["enabled"] is True
    assert kubelet["authentication"]["x509"]["clientCAFile"]
    assert kubelet["authorization"]["mode"] == "Webhook"


def test_4_2_4_the_read_only_port_is_closed(kubelet: dict[str, Any]) -> None:
    assert kubelet["readOnlyPort"] == 0


def test_4_2_5_idle_streams_end(kubelet: dict[str, Any]) -> None:
    assert kubelet["streamingConnectionIdleTimeout"] not in ("0", "0s")


def test_4_2_6_the_kubelet_does_not_start_with_other_kernel_settings(kubelet: dict[str, Any]) -> None:
    assert kubelet["protectKernelDefaults"] is True


def test_4_2_7_the_kubelet_keeps_its_own_filter_rules(kubelet: dict[str, Any]) -> None:
    assert kubelet["makeIPTablesUtilChains"] is True


def test_4_2_8_the_nodes_name_comes_from_the_estate_and_is_the_certificates(files: Files) -> None:
    """The benchmark warns of a name that the certificate does not contain."""
    flags = flags_of(files[f"{UNITS}/kubelet.service"].text)
    assert flags["hostname-override"] == "futian-kube1"
    assert files["/etc/kubernetes/node/kubelet.crt"].text == "cert of futian node-futian-kube1\n"


def test_4_2_9_events_are_kept_and_bounded(kubelet: dict[str, Any]) -> None:
    assert 0 < kubelet["eventRecordQPS"] <= 50


def test_4_2_10_the_kubelet_serves_with_a_certificate_of_the_clusters_authority(kubelet: dict[str, Any]) -> None:
    assert kubelet["tlsCertFile"]
    assert kubelet["tlsPrivateKeyFile"]


def test_4_2_11_and_12_only_the_stacks_renew_certificates(kubelet: dict[str, Any], controllers: Flags) -> None:
    """The benchmark asks for rotation. Here the stacks renew certificates, and the cluster has no key to sign with."""
    assert kubelet["rotateCertificates"] is kubelet["serverTLSBootstrap"] is False
    assert not [flag for flag in controllers if flag.startswith("cluster-signing")]


def test_4_2_13_a_pod_has_a_limit_of_processes(kubelet: dict[str, Any]) -> None:
    assert 0 < kubelet["podPidsLimit"] <= 4096


def test_4_2_14_pods_run_under_the_runtimes_seccomp_profile(kubelet: dict[str, Any]) -> None:
    assert kubelet["seccompDefault"] is True


def test_4_3_1_kube_proxys_metrics_stay_on_the_host(files: Files) -> None:
    assert yaml.safe_load(files["/etc/kubernetes/proxy.yaml"].text)["metricsBindAddress"].startswith("127.0.0.1:")


# 5 Policies


def test_5_1_7_only_the_hosts_root_is_in_the_group_of_masters(files: Files) -> None:
    admin = [file for path, file in files.items() if path.endswith("/admin.key")]
    assert [(file.owner, file.mode) for file in admin] == [("root", "0400")]


def test_5_2_1_a_namespace_without_labels_gets_a_pod_security_standard(files: Files) -> None:
    document = yaml.safe_load(files["/etc/kubernetes/admission.yaml"].text)["plugins"]
    security = next(plugin["configuration"] for plugin in document if plugin["name"] == "PodSecurity")
    assert security["defaults"]["enforce"] in ("baseline", "restricted")
    assert security["exemptions"]["namespaces"] == ["kube-system"]
    assert not security["exemptions"]["usernames"]


def test_5_2_2_privileged_containers_are_refused_for_every_user(api: Flags) -> None:
    assert "allow-privileged" not in api
