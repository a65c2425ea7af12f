"""Bureaus on a real API server: their people's rights, and the refusals for them and for operators who help them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest

from estate.loader import load
from estate.model import Bureau, Cluster, Estate, Quota, Title
from playbooks import pki
from stacks.components.tenancy import EVERYDAY, PROMISED, tenancies
from stacks.components.workload import Probe, Resources, ServiceSpec, Workload, WorkloadArgs
from tests.integration.kubernetes.conftest import Declare, EngineSession, open_session
from tests.polling import until
from tools.envtest import DAYS, ControlPlane
from workstation.errors import GovcloudError

CLUSTER = Cluster(site="futian", version="1.37.2")
OWNER, GUEST = "human-resources", "planning"
"""The first bureau owns a promised service, the second does not."""
ESTATE = load()


def with_bureau(name: str, estate: Estate = ESTATE) -> Estate:
    """One more entry."""
    quota = Quota(cpus=0.5, memory_mib=256, pods=3)
    entry = Bureau(name=name, title=Title(zh="某局", en="A bureau"), quota=quota)
    return estate.model_copy(update={"bureaus": (*estate.bureaus, entry)})


def declared(estate: Estate) -> Declare:
    """Declare all bureaus of an estate on one cluster."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        tenancies(estate, CLUSTER, opts)

    return declare


@dataclass(frozen=True)
class Person:
    """A person of a bureau, with a certificate from the cluster's authority."""

    cluster: ControlPlane
    bureau: str

    def kubectl(self, *words: str, namespace: str = "", give: Any = None) -> str:
        """Run kubectl as this person, by default in the own namespace. `give` is the standard input."""
        key, cert = pki.issue(self.cluster.authority, "chen", [], DAYS, ["client"], [f"bureau:{self.bureau}"])
        pair = {"client-certificate-data": cert, "client-key-data": key}
        user = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
        file = self.cluster.folder / f"{self.bureau}.conf"
        file.write_text(self.cluster.kubeconfig(user=user))
        argv = [f"--kubeconfig={file}", "-n", namespace or self.bureau, *words]
        return self.cluster.kubectl(*argv, stdin=json.dumps(give) if give else None)

    def refused(self, *words: str, **options: Any) -> str:
        """Return the API server's refusal."""
        with pytest.raises(GovcloudError) as caught:
            self.kubectl(*words, **options)
        return str(caught.value.next_step)


@pytest.fixture(scope="module")
def city(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSession]:
    """Yield a session in which the engine has onboarded two bureaus."""
    with open_session(cluster, tmp_path_factory.mktemp("city") / "home", OWNER) as session:
        done = session.up(declared(with_bureau(GUEST)))
        assert not done.failed, done.errors
        yield session


@pytest.fixture
def owner(city: EngineSession) -> Person:
    """Return a person of the bureau with a promised service."""
    return Person(city.cluster, OWNER)


@pytest.fixture
def guest(city: EngineSession) -> Person:
    """Return a person of the other bureau."""
    return Person(city.cluster, GUEST)


def pod(name: str, **container: Any) -> dict[str, Any]:
    """Return a small pod that `restricted` allows. `container` changes it; `priorityClassName` is the pod's."""
    priority = {key: container.pop(key) for key in ("priorityClassName",) if key in container}
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "registry.invalid/x", "securityContext": security, **container}],
            **priority,
        },
    }


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ({"privileged": True}, "must not set securityContext.privileged=true"),
        ({"runAsUser": 0, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, "runAsUser=0"),
        ({"allowPrivilegeEscalation": False}, 'must set securityContext.capabilities.drop=["ALL"]'),
    ],
    ids=["privileged", "root", "with capabilities"],
)
def test_a_privileged_pod_is_refused(guest: Person, city: EngineSession, security: dict[str, Any], said: str) -> None:
    """The bureau's people and an operator who helps them get the refusal with its reason."""
    privileged = pod("root", securityContext=security)
    with pytest.raises(GovcloudError) as caught:
        city.cluster.kubectl("-n", GUEST, "create", "-f", "-", stdin=json.dumps(privileged))
    for words in (guest.refused("create", "-f", "-", give=privileged), caught.value.next_step):
        assert 'violates PodSecurity "restricted:v1.37"' in words
        assert said in words
    assert "pod/root" not in guest.kubectl("get", "pods", "-o", "name")


def test_bureau_users_work_in_their_own_namespace(guest: Person) -> None:
    """They create, read, change and delete their objects."""
    guest.kubectl("create", "configmap", "settings", "--from-literal=a=1")
    guest.kubectl("patch", "configmap", "settings", "-p", '{"data": {"a": "2"}}')
    assert guest.kubectl("get", "configmap", "settings", "-o", "jsonpath={.data.a}") == "2"
    guest.kubectl("create", "-f", "-", give=pod("modest"))
    found = json.loads(guest.kubectl("get", "pod", "modest", "-o", "json"))["spec"]
    assert found["priorityClassName"] == EVERYDAY
    assert found["containers"][0]["resources"]["limits"] == {"memory": "128Mi"}
    guest.kubectl("delete", "pod/modest", "configmap/settings")
    assert "quota" in guest.kubectl("get", "resourcequotas", "-o", "name")


@pytest.mark.parametrize("what", ["secrets", "pods", "configmaps", "deployments"])
def test_bureau_users_see_no_object_of_another_bureau(guest: Person, owner: Person, what: str) -> None:
    """They see neither its objects nor cluster-wide objects."""
    assert "forbidden" in guest.refused("get", what, namespace=OWNER)
    assert "forbidden" in guest.refused("get", what, "--all-namespaces")
    owner.kubectl("get", what)


@pytest.mark.parametrize(
    "words",
    [
        ("delete", "resourcequota", "quota"),
        ("delete", "limitrange", "limits"),
        ("delete", "rolebinding", "people"),
        ("create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=chen"),
        ("label", "namespace", GUEST, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"),
        ("get", "nodes"),
        ("get", "namespaces"),
    ],
    ids=" ".join,
)
def test_bureau_users_cannot_extend_their_rights(guest: Person, words: tuple[str, ...]) -> None:
    """They cannot change the objects that limit them to their namespace."""
    assert "forbidden" in guest.refused(*words)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"requests": {"cpu": "600m"}}, "exceeded quota: quota, requested: requests.cpu=600m"),
        ({"limits": {"memory": "257Mi"}}, "maximum memory usage per Container is 256Mi"),
    ],
)
def test_more_than_the_quota_is_refused(guest: Person, asked: dict[str, Any], said: str) -> None:
    """The refusal has the figures."""
    assert said in guest.refused("create", "-f", "-", give=pod("greedy", resources=asked))


def test_memory_is_not_promised_twice(guest: Person) -> None:
    """Two pods that fit one at a time do not fit together."""
    asked = {"limits": {"memory": "200Mi"}}
    guest.kubectl("create", "-f", "-", give=pod("first", resources=asked))
    try:
        words = until_counted(guest, lambda: guest.refused("create", "-f", "-", give=pod("second", resources=asked)))
        assert "exceeded quota: quota" in words
    finally:
        guest.kubectl("delete", "pod", "first", "--grace-period=0", "--force")


@pytest.mark.parametrize("kind", ["nodeport", "loadbalancer"])
def test_bureau_users_cannot_open_a_service_to_the_outside(guest: Person, kind: str) -> None:
    """The site's gateway is the only way in."""
    assert "exceeded quota" in guest.refused("create", "service", kind, "door", "--tcp=80:8080")


def test_bureau_users_cannot_use_the_systems_priority(guest: Person, owner: Person) -> None:
    """Only the bureau with a promised service may use that service's priority."""
    for person in (guest, owner):
        words = person.refused("create", "-f", "-", give=pod("vip", priorityClassName="system-cluster-critical"))
        assert "exceeded quota: priorities" in words
    promised = pod("vip", priorityClassName=PROMISED)
    assert "exceeded quota: priorities" in guest.refused("create", "-f", "-", give=promised)
    owner.kubectl("create", "-f", "-", give=promised)
    owner.kubectl("delete", "pod", "vip", "--grace-period=0", "--force")


def test_an_entry_onboards_a_bureau_and_its_removal_ends_its_rights(city: EngineSession) -> None:
    """The namespace stays with its objects."""
    before = with_bureau(GUEST)
    newcomer = Person(city.cluster, "housing")
    assert "forbidden" in newcomer.refused("get", "pods")
    made = city.up(declared(with_bureau("housing", before)))
    assert set(made.changed) == {"create", "same"}, made.errors
    newcomer.kubectl("create", "configmap", "kept", "--from-literal=a=1")
    again = city.up(declared(with_bureau("housing", before)))
    assert set(again.changed) == {"same"}, (again.diffs, again.errors)
    gone = city.up(declared(before))
    assert not gone.failed, gone.errors
    assert "forbidden" in newcomer.refused("get", "configmaps")
    assert "configmap/kept" in city.cluster.kubectl("-n", "housing", "get", "configmaps", "-o", "name")


def desk_workload(certificate: str) -> Declare:
    """Declare a workload of a bureau. The run does not wait for its pods, because there are no nodes."""
    args = WorkloadArgs(
        namespace=OWNER,
        image="registry.govcloud/session@sha256:" + "0" * 64,
        replicas=2,
        resources=Resources(cpu_millis=100, memory_mib=64),
        port=8080,
        ready=Probe(path="/healthz"),
        alive=Probe(path="/healthz", period_s=10),
        started=Probe(path="/healthz", failures=30),
        environment={"DSN": "hostaddr=$(NODE) password=$(PASSWORD)"},
        secrets={"PASSWORD": "hunter2hunter2"},
        fields={"NODE": "status.hostIP"},
        files={"/etc/session/ca.crt": certificate},
        service=ServiceSpec(port=80, cluster_ips=("10.96.0.77",)),
        priority_class=PROMISED,
    )

    def unawaited(made: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        if made.type_.endswith((":Deployment", ":Service")):
            made.props["metadata"] = {**made.props["metadata"], "annotations": {"pulumi.com/skipAwait": "true"}}
        return pulumi.ResourceTransformationResult(made.props, made.opts)

    def declare(opts: pulumi.ResourceOptions) -> None:
        tenancy = tenancies(with_bureau(GUEST), CLUSTER, opts)[OWNER]
        own = pulumi.ResourceOptions(depends_on=[tenancy], transformations=[unawaited])
        Workload("session", args, pulumi.ResourceOptions.merge(opts, own))

    return declare


def test_a_workload_keeps_to_the_rules_of_its_namespace(city: EngineSession, owner: Person) -> None:
    """The API server accepts its pods. A changed file rolls them, while earlier pods keep the old file."""
    made = city.up(desk_workload("first"))
    assert not made.failed, made.errors
    label = "app.kubernetes.io/name=session"
    pods = ("get", "pods", "-l", label, "-o", "name")
    until("two pods exist", lambda: len(owner.kubectl(*pods).split()) == 2, 60)
    assert "hunter2" not in city.checkpoint()
    before = read_by(owner)
    uid = city.uid("configmap", before)
    assert set(city.up(desk_workload("first")).changed) == {"same"}
    assert read_by(owner) == before
    changed = city.up(desk_workload("second"))
    assert (changed.changed.get("update"), changed.changed.get("replace")) == (1, 1), (changed.diffs, changed.errors)
    assert read_by(owner) != before
    assert city.uid("configmap", before) == uid
    assert owner.kubectl("get", "service", "session", "-o", "jsonpath={.spec.clusterIP}") == "10.96.0.77"
    assert owner.kubectl("get", "pdb", "session", "-o", "jsonpath={.spec.minAvailable}") == "1"


def read_by(person: Person) -> str:
    """Return the ConfigMap with which the pods start."""
    path = "jsonpath={.spec.template.spec.volumes[0].configMap.name}"
    return person.kubectl("get", "deployment", "session", "-o", path)


def until_counted(person: Person, act: Callable[[], str]) -> str:
    """Wait until the quota controller has counted the use."""
    used = ("get", "resourcequota", "quota", "-o", "jsonpath={.status.used.pods}")
    until("the pod is counted", lambda: person.kubectl(*used) == "1", 30)
    return act()
