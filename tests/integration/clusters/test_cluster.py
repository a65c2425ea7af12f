"""A site's cluster on a real node: deployed by the roles, used, powered off and powered on."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

import kubernetes_nodes
import pytest
import workload as pods
import yaml
from kubernetes_nodes import KubernetesNodes

from lab.command import network_of
from playbooks.render.kubernetes.cluster import image_reference
from playbooks.render.kubernetes.kubeconfig import operator_kubeconfig
from stacks.components.pods import TERMINATION_MESSAGE_POLICY
from stacks.providers import registry
from stacks.providers.kubernetes import kubeconfig
from stacks.providers.kubernetes.api import Cluster
from stacks.providers.kubernetes.discovery import Kinds, Place
from stacks.providers.kubernetes.objects import ROLL_BACK
from stacks.providers.kubernetes.wait import NotReady, Waiter
from tests.polling import until
from tools.oci import layout
from workstation.errors import GovcloudError
from workstation.oci import OciImage

BACK_S = 60
MISSING_S = 90
CRASHING_S = 25


@pytest.fixture(scope="module")
def cluster(nodes: KubernetesNodes) -> KubernetesNodes:
    """The nodes with their roles applied."""
    nodes.apply(nodes.first)
    return nodes


@pytest.fixture(scope="module")
def image(cluster: KubernetesNodes) -> OciImage:
    """The approval service's image in the site's registry."""
    made, layers, again = pods.push(cluster)
    assert (layers, again) == (3, 0)
    return made


@pytest.fixture(scope="module")
def running(cluster: KubernetesNodes, image: OciImage) -> list[str]:
    """Return the service's cluster addresses of both families, with ready pods."""
    cluster.kubectl("apply", "-f", "-", stdin=pods.workload(image_reference(image.name, image.digest)))
    cluster.kubectl("rollout", "status", "-n", "bureau", "deployment/approval", "--timeout=90s")
    spec = json.loads(cluster.kubectl("get", "service", "-n", "bureau", "approval", "-o", "json"))["spec"]
    return list(spec["clusterIPs"])


def answers(nodes: KubernetesNodes, address: str, path: str = "/healthz") -> bool:
    """Return whether the address answers the node."""
    host = f"[{address}]" if ":" in address else address
    return nodes.run(nodes.first, "curl", "-fsS", "-m", "2", f"http://{host}{path}").returncode == 0


def test_the_node_is_ready_and_a_second_apply_changes_nothing(cluster: KubernetesNodes) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == [cluster.first.name]
    info = nodes[0]["status"]["nodeInfo"]
    assert info["kubeletVersion"] == f"v{kubernetes_nodes.VERSION}"
    assert info["containerRuntimeVersion"].startswith("containerd://2.")
    assert cluster.apply(cluster.first).changes == ()


def test_pods_of_our_own_image_answer_in_both_families(cluster: KubernetesNodes, running: list[str]) -> None:
    assert {":" in address for address in running} == {True, False}
    for address in running:
        until(f"{address} answers", lambda at=address: answers(cluster, at), 20)
    pods = json.loads(cluster.kubectl("get", "pods", "-n", "bureau", "-o", "json"))["items"]
    own = cluster.plan.clusters[kubernetes_nodes.SITE].nodes[cluster.first.name]
    for pod in pods:
        addresses = [entry["ip"] for entry in pod["status"]["podIPs"]]
        assert len(addresses) == 2
        assert addresses[0].rsplit(".", 1)[0] == str(own.ipv4).rsplit(".", 1)[0]


def test_a_pod_reaches_its_neighbour_through_the_service(cluster: KubernetesNodes, running: list[str]) -> None:
    """Both are on one bridge. Without the filter for bridged packets the answer has the wrong source address."""
    ask = "import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"
    for address in running:
        host = f"[{address}]" if ":" in address else address
        for _ in range(4):  # with several requests both pods are chosen, also the requesting one
            said = cluster.kubectl(
                "exec", "-n", "bureau", "deployment/approval", "--",
                "/usr/bin/python3", "-c", ask, f"http://{host}/healthz",
            )  # fmt: skip
            assert said.strip() == "200"


def test_a_secret_is_not_readable_in_etcd(cluster: KubernetesNodes, running: list[str]) -> None:
    cluster.kubectl("create", "secret", "generic", "-n", "bureau", "word", "--from-literal=word=opensesame")
    flags = [f"--{part}=/etc/kubernetes/pki/{file}" for part, file in
             (("cacert", "etcd-ca.crt"), ("cert", "apiserver-etcd.crt"), ("key", "apiserver-etcd.key"))]  # fmt: skip
    stored = cluster.run(
        cluster.first, "etcdctl", "--endpoints=https://127.0.0.1:2381", *flags, "get", "/registry/secrets/bureau/word"
    ).stdout
    assert b"k8s:enc:secretbox:v1:" in stored
    assert b"opensesame" not in stored
    assert "b3BlbnNlc2FtZQ==" in cluster.kubectl("get", "secret", "-n", "bureau", "word", "-o", "yaml")


def test_access_needs_a_certificate_of_this_cluster(cluster: KubernetesNodes) -> None:
    """The API server and the kubelet refuse anonymous access and a certificate of the estate."""
    lan = cluster.plan.lan(cluster.first.name).ipv4
    estate = ["--cert", "/etc/govcloud/pki/host.crt", "--key", "/etc/govcloud/pki/host.key"]
    for url in (f"https://{lan}:6443/version", f"https://{lan}:6443/livez", f"https://{lan}:10250/pods"):
        for identity in ([], estate):
            said = cluster.text(
                cluster.first, "curl", "-s", "-m", "5", "--cacert", "/etc/kubernetes/pki/ca.crt", *identity,
                "-o", "/dev/null", "-w", "%{http_code}", url,
            )  # fmt: skip
            assert said in ("401", "000"), (url, said)
    refused = cluster.run(cluster.first, "curl", "-s", "-m", "5", "-k", "https://127.0.0.1:2381/version")
    assert refused.returncode != 0


def test_the_operator_connects_over_the_management_network(cluster: KubernetesNodes, tmp_path: Path) -> None:
    import subprocess

    from tools import envtest

    config = tmp_path / "config"
    secrets = cluster.secrets.clusters[kubernetes_nodes.SITE]
    config.write_text(operator_kubeconfig(cluster.estate, cluster.plan, kubernetes_nodes.SITE, secrets))
    kubectl = [str(envtest.program("kubectl")), f"--kubeconfig={config}"]
    with network_of(Path("/run/netns") / kubernetes_nodes.OPERATOR):
        done = subprocess.run([*kubectl, "auth", "whoami", "-o", "json"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"]["userInfo"]["groups"][0] == "govcloud:operators"


@pytest.mark.parametrize(
    ("namespace", "change", "words"),
    [
        ("default", {"hostNetwork": True}, "violates PodSecurity"),
        ("kube-system", {"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": True}}]},
         "disallowed by cluster policy"),
    ],
)  # fmt: skip
def test_a_pod_that_requests_access_to_the_host_is_refused(
    cluster: KubernetesNodes, namespace: str, change: dict[str, object], words: str
) -> None:
    spec = {"containers": [{"name": "a", "image": "a"}], **change}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": namespace}, "spec": spec}
    done = cluster.run(
        cluster.first, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "create", "--dry-run=server", "-f", "-",
        stdin=yaml.safe_dump(pod).encode(),
    )  # fmt: skip
    assert done.returncode != 0
    assert words in done.stderr.decode()


def test_the_audit_log_contains_changes_but_no_content_of_secrets(cluster: KubernetesNodes, running: list[str]) -> None:
    log = cluster.text(cluster.first, "cat", "/var/log/kubernetes/audit.log")
    entries = [json.loads(line) for line in log.splitlines()]
    changed = {entry["objectRef"]["resource"] for entry in entries if "requestObject" in entry}
    assert "deployments" in changed
    assert "opensesame" not in log
    assert "b3BlbnNlc2FtZQ" not in log


def waited_for(nodes: KubernetesNodes, name: str, seconds: float) -> tuple[str, list[str]]:
    """Return why the Deployment is not ready, and the progress lines, from the provider's own wait."""
    said: list[str] = []
    text = operator_kubeconfig(
        nodes.estate, nodes.plan, kubernetes_nodes.SITE, nodes.secrets.clusters[kubernetes_nodes.SITE]
    )

    async def wait() -> str:
        cluster = Cluster(kubeconfig.access({"kubeconfig": text}))
        place = Place("/apis/apps/v1", "deployments", True)
        waiter = Waiter(cluster=cluster, kinds=Kinds(cluster), place=place, say=said.append, stop=asyncio.Event())
        try:
            with pytest.raises(NotReady) as failed:
                await waiter.ready(await cluster.get(place.path("bureau", name)), seconds)
        finally:
            await cluster.close()
        return failed.value.reason

    with network_of(Path("/run/netns") / kubernetes_nodes.OPERATOR):
        return asyncio.run(wait()), said


def test_a_missing_image_is_named_and_ends_the_wait_early(cluster: KubernetesNodes, running: list[str]) -> None:
    """The texts come from the real kubelet, containerd and registry, long before the timeout."""
    absent = image_reference("approval", f"sha256:{'0' * 64}")
    namespace, deployment, _ = yaml.safe_load_all(pods.workload(absent, "absent", replicas=1))
    deployment["metadata"]["annotations"] = {ROLL_BACK: "true"}
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([namespace, deployment]))
    started = time.monotonic()
    reason, said = waited_for(cluster, "absent", MISSING_S)
    print(f"given up after {time.monotonic() - started:.1f} s: {reason}; reported: {said}")
    assert reason.startswith("its new version is given up: pod absent-")
    assert f"the image {absent} cannot be fetched" in reason
    assert any(f"the image {absent} cannot be fetched" in line for line in said)
    cluster.kubectl("delete", "-n", "bureau", "deployment/absent")


def test_a_crashing_container_is_reported_with_its_last_message(
    cluster: KubernetesNodes, image: OciImage, running: list[str]
) -> None:
    """Every workload requests this from the kubelet. Otherwise there is only an exit code."""
    reference = image_reference(image.name, image.digest)
    namespace, deployment, _ = yaml.safe_load_all(pods.workload(reference, "crashing", replicas=1))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["command"] = ["/usr/bin/python3", "-c", "raise SystemExit('no such setting')"]
    container["terminationMessagePolicy"] = TERMINATION_MESSAGE_POLICY
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([namespace, deployment]))
    try:
        _, said = waited_for(cluster, "crashing", CRASHING_S)
    finally:  # a later test waits for all pods
        cluster.kubectl("delete", "-n", "bureau", "deployment/crashing")
    assert any("last with exit code 1 and the message: no such setting" in line for line in said), said


def small_image(folder: Path, version: str) -> OciImage:
    """Nothing starts from it."""
    tree, made = folder / f"tree-{version}", folder / f"image-{version}"
    for path in (tree, made):
        path.mkdir()
    (tree / "version").write_text(version)
    digest = layout.finish(made, [layout.layer(made, tree, lambda path: True)], {"User": "65532"})
    return OciImage(name="records", folder=made, digest=digest)


def test_the_nightly_clean_up_keeps_images_of_pods_and_deletes_an_unreferenced_image(
    cluster: KubernetesNodes, image: OciImage, running: list[str], tmp_path: Path
) -> None:
    """It runs in its confined unit. The registry restarts and collects."""
    there, stale, last = pods.registry_of(cluster), small_image(tmp_path, "1"), small_image(tmp_path, "2")
    value = stale.digest.removeprefix("sha256:")
    top = "/srv/data/registry/docker/registry/v2"
    link, blob = (
        f"{top}/repositories/records/_manifests/revisions/sha256/{value}/link",
        f"{top}/blobs/sha256/{value[:2]}",
    )
    with network_of(Path("/run/netns") / kubernetes_nodes.OPERATOR):
        for one in (stale, last):
            registry.push(there, one)
    cluster.text(cluster.first, "touch", "-d", "2 days ago", link)
    assert cluster.text(cluster.first, "systemctl", "is-active", "govcloud-registry-clean.timer").strip() == "active"
    cluster.text(cluster.first, "systemctl", "start", "govcloud-registry-clean.service")

    def held() -> list[bool]:
        with suppress(GovcloudError):
            return [registry.holds(there, one.name, one.digest) for one in (stale, last, image)]
        return []

    with network_of(Path("/run/netns") / kubernetes_nodes.OPERATOR):
        assert until("the registry answers again", held, 20) == [False, True, True]
    assert cluster.run(cluster.first, "test", "-e", f"{blob}/{value}/data").returncode == 1


def pulled_anew(nodes: KubernetesNodes, reference: str) -> None:
    """The pods run on layers that were unpacked a moment ago."""
    scale = ("scale", "-n", "bureau", "deployment/approval")
    nodes.kubectl(*scale, "--replicas=0")
    nodes.kubectl("wait", "-n", "bureau", "pods", "--all", "--for=delete", "--timeout=50s")
    known = nodes.text(nodes.first, "ctr", "-n", "k8s.io", "images", "ls", "-q").split()
    nodes.text(nodes.first, "ctr", "-n", "k8s.io", "images", "rm", "--sync", *(n for n in known if "pause" not in n))
    assert reference not in nodes.text(nodes.first, "ctr", "-n", "k8s.io", "images", "ls", "-q")
    nodes.kubectl(*scale, "--replicas=2")
    nodes.kubectl("rollout", "status", "-n", "bureau", "deployment/approval", "--timeout=50s")


def test_after_a_power_loss_right_after_a_pull_the_pods_start_again(
    cluster: KubernetesNodes, image: OciImage, running: list[str]
) -> None:
    """An image's files are on the disk before it counts as pulled, so no download is needed."""
    pulled_anew(cluster, image_reference(image.name, image.digest))
    cluster.cut_power(cluster.first)
    started = time.monotonic()
    cluster.power_on(cluster.first)
    cluster.await_ssh(cluster.first)
    for address in running:
        until(f"{address} answers again", lambda at=address: answers(cluster, at), BACK_S)
    print(f"pods answered {time.monotonic() - started:.1f} s after the power came back")
