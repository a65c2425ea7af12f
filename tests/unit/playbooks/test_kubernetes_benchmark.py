"""Items of the CIS Kubernetes Benchmark, checked in the rendered configuration. The names of tests and of the table's
rows start with the item's number.

Items on file permissions of packaged clusters are checked on the files that our roles write. Items that only a running
cluster can answer are in tests/integration/clusters.
"""

from __future__ import annotations

import json
import re
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
def etcd(files: Files) -> Flags:
    """Return the flags of the cluster's etcd."""
    return flags_of(files[f"{UNITS}/kubernetes-etcd.service"].text)


@pytest.fixture(scope="module")
def kubelet(files: Files) -> dict[str, Any]:
    """Return the kubelet's settings."""
    return dict(yaml.safe_load(files["/etc/kubernetes/kubelet.yaml"].text))


API, CONTROLLERS, SCHEDULER = "kube-apiserver", "kube-controller-manager", "kube-scheduler"
ETCD, KUBELET = "kubernetes-etcd", "kubelet"
CERTIFICATE, KEY = r".+\.crt", r".+\.key"

# The item, the program, its flag or setting, and the pattern of its value, None if it must not be set.
SETTINGS = (
    ("1.2.1 anonymous requests are refused", API, "anonymous-auth", "false"),
    ("1.2.2 there are no static tokens", API, "token-auth-file", None),
    ("1.2.2 nor tokens for joining", API, "enable-bootstrap-token-auth", None),
    # The bridge forwards only packets from nodes and pods of the site, so such an address would have no route.
    (
        "1.2.3 users set no external addresses of services",
        API,
        "enable-admission-plugins",
        ".*DenyServiceExternalIPs.*",
    ),
    ("1.2.4 the API server authenticates to kubelets", API, "kubelet-client-certificate", CERTIFICATE),
    ("1.2.4 with its key", API, "kubelet-client-key", KEY),
    ("1.2.5 kubelets authenticate to the API server", API, "kubelet-certificate-authority", ".*ca.crt"),
    ("1.2.6 to 8 authorisation is never always", API, "authorization-mode", "Node,RBAC"),
    ("1.2.9 events are limited", API, "enable-admission-plugins", ".*EventRateLimit.*"),
    ("1.2.10 AlwaysAdmit is off", API, "enable-admission-plugins", "(?!.*AlwaysAdmit).*"),
    ("1.2.12 and 13 admission stays on", API, "disable-admission-plugins", None),
    ("1.2.14 nodes change only their own objects", API, "enable-admission-plugins", ".*NodeRestriction.*"),
    ("1.2.15 profiling is off", API, "profiling", "false"),
    ("1.2.16 every change is in the audit log", API, "audit-log-path", "/var/log/kubernetes/audit.log"),
    ("1.2.20 requests have a timeout", API, "request-timeout", "60s"),
    ("1.2.21 deleted service accounts have no valid tokens", API, "service-account-lookup", "true"),
    ("1.2.23 the API server reaches etcd by TLS only", API, "etcd-servers", "https://.*"),
    ("1.2.23 and authenticates", API, "etcd-certfile", CERTIFICATE),
    ("1.2.23 with its key", API, "etcd-keyfile", KEY),
    ("1.2.24 the API server has a certificate", API, "tls-cert-file", CERTIFICATE),
    ("1.2.24 with its key", API, "tls-private-key-file", KEY),
    ("1.2.25 users have certificates", API, "client-ca-file", "/etc/kubernetes/pki/ca.crt"),
    ("1.2.26 etcd authenticates", API, "etcd-cafile", CERTIFICATE),
    ("1.2.29 TLS is new", API, "tls-min-version", "VersionTLS12"),
    ("1.3.2 profiling is off", CONTROLLERS, "profiling", "false"),
    ("1.3.3 each controller has rights of its own", CONTROLLERS, "use-service-account-credentials", "true"),
    ("1.3.4 tokens are signed", CONTROLLERS, "service-account-private-key-file", KEY),
    ("1.3.5 the authority is distributed", CONTROLLERS, "root-ca-file", "/etc/kubernetes/pki/ca.crt"),
    ("1.3.7 controllers listen only on loopback", CONTROLLERS, "bind-address", "127.0.0.1"),
    ("1.4.1 profiling is off", SCHEDULER, "profiling", "false"),
    ("1.4.2 the scheduler listens only on loopback", SCHEDULER, "bind-address", "127.0.0.1"),
    ("2.1 etcd has a certificate", ETCD, "cert-file", CERTIFICATE),
    ("2.1 with its key", ETCD, "key-file", KEY),
    ("2.2 clients have certificates", ETCD, "client-cert-auth", "true"),
    ("2.3 etcd signs none for itself", ETCD, "auto-tls", None),
    ("2.4 members have certificates", ETCD, "peer-cert-file", CERTIFICATE),
    ("2.5 members authenticate", ETCD, "peer-client-cert-auth", "true"),
    ("2.6 members sign none for themselves", ETCD, "peer-auto-tls", None),
    ("4.2.1 anonymous requests are refused", KUBELET, "authentication.anonymous.enabled", "False"),
    ("4.2.2 requests are authorised", KUBELET, "authorization.mode", "Webhook"),
    ("4.2.2 by the cluster", KUBELET, "authentication.webhook.enabled", "True"),
    ("4.2.3 or by a certificate", KUBELET, "authentication.x509.clientCAFile", CERTIFICATE),
    ("4.2.4 the read-only port is closed", KUBELET, "readOnlyPort", "0"),
    ("4.2.5 idle streams end", KUBELET, "streamingConnectionIdleTimeout", "[1-9].*"),
    ("4.2.6 the kernel's settings are required", KUBELET, "protectKernelDefaults", "True"),
    ("4.2.7 the kubelet keeps its own filter rules", KUBELET, "makeIPTablesUtilChains", "True"),
    ("4.2.10 the kubelet has a certificate", KUBELET, "tlsCertFile", CERTIFICATE),
    ("4.2.10 with its key", KUBELET, "tlsPrivateKeyFile", KEY),
    ("4.2.12 TLS is new", KUBELET, "tlsMinVersion", "VersionTLS12"),
    ("4.2.14 pods run under the seccomp profile", KUBELET, "seccompDefault", "True"),
    ("5.2.2 privileged containers are refused", API, "allow-privileged", None),
)


@pytest.mark.parametrize(("program", "name", "wanted"), [row[1:] for row in SETTINGS], ids=[row[0] for row in SETTINGS])
def test_a_setting_is_as_the_benchmark_asks(
    files: Files, kubelet: dict[str, Any], program: str, name: str, wanted: str | None
) -> None:
    """A setting of the kubelet is named by its path."""
    found: Any = kubelet if program == KUBELET else flags_of(files[f"{UNITS}/{program}.service"].text)
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if wanted is None:
        assert found is None
    else:
        assert re.fullmatch(wanted, str(found))


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


def test_1_2_9_events_are_limited(files: Files) -> None:
    """The plugin in the table has its limits."""
    configured = [plugin["name"] for plugin in yaml.safe_load(files["/etc/kubernetes/admission.yaml"].text)["plugins"]]
    assert "EventRateLimit" in configured


def test_1_2_16_to_19_every_change_is_in_the_audit_log(api: Flags) -> None:
    assert int(api["audit-log-maxage"]) >= 30
    assert int(api["audit-log-maxbackup"]) >= 10
    assert int(api["audit-log-maxsize"]) >= 100


def test_1_2_22_service_accounts_have_a_key_pair_of_their_own(api: Flags, files: Files) -> None:
    assert api["service-account-signing-key-file"] != api["tls-private-key-file"]
    assert files[api["service-account-key-file"]].text == "cert of futian service-accounts\n"


def test_1_2_27_and_28_secrets_are_encrypted_at_rest_and_never_read_in_clear(api: Flags, files: Files) -> None:
    document = yaml.safe_load(files[api["encryption-provider-config"]].text)
    entry = next(one for one in document["resources"] if "secrets" in one["resources"])
    assert [list(provider) for provider in entry["providers"]] == [["secretbox"]]


def test_1_2_29_only_strong_ciphers_are_enabled(api: Flags, kubelet: dict[str, Any]) -> None:
    for ciphers in (api["tls-cipher-suites"].split(","), kubelet["tlsCipherSuites"]):
        assert ciphers
        assert all("ECDHE" in cipher and ("GCM" in cipher or "CHACHA20" in cipher) for cipher in ciphers)


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


# 2 etcd


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


def test_4_2_8_the_nodes_name_comes_from_the_estate_and_is_the_certificates(files: Files) -> None:
    """The benchmark warns of a name that the certificate does not contain."""
    flags = flags_of(files[f"{UNITS}/kubelet.service"].text)
    assert flags["hostname-override"] == "futian-kube1"
    assert files["/etc/kubernetes/node/kubelet.crt"].text == "cert of futian node-futian-kube1\n"


def test_4_2_9_events_are_kept_and_bounded(kubelet: dict[str, Any]) -> None:
    assert 0 < kubelet["eventRecordQPS"] <= 50


def test_4_2_11_and_12_only_the_stacks_renew_certificates(kubelet: dict[str, Any], controllers: Flags) -> None:
    """The benchmark asks for rotation. Here the stacks renew certificates, and the cluster has no key to sign with."""
    assert kubelet["rotateCertificates"] is kubelet["serverTLSBootstrap"] is False
    assert not [flag for flag in controllers if flag.startswith("cluster-signing")]


def test_4_2_13_a_pod_has_a_limit_of_processes(kubelet: dict[str, Any]) -> None:
    assert 0 < kubelet["podPidsLimit"] <= 4096


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
