"""Every failure names the resource, the reason and the next step, and the next run continues."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s
import pytest

from playbooks import pki
from tests.integration.kubernetes.conftest import BackgroundRun, Declare, EngineSession, open_session
from tests.integration.kubernetes.test_life import POD, config, deployment
from tests.polling import until
from tools.envtest import ControlPlane

Start = Callable[[Declare, str], BackgroundRun]


def waiting(session: EngineSession, seconds: int, quota: bool = False) -> Declare:
    """Declare a Deployment whose pods stay pending, because there are no nodes."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        container = {"name": "web", "image": "registry.invalid/web:1"}
        k8s.apps.v1.Deployment(
            "web",
            metadata={
                "name": "web",
                "namespace": session.namespace,
                "annotations": {"pulumi.com/timeoutSeconds": str(seconds)},
            },
            spec={
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )

    return declare


@pytest.mark.nightly
def test_an_object_that_does_not_become_ready_fails_in_time_with_its_reason(session: EngineSession) -> None:
    """It is recorded as created. The next run waits for it again and does not create a second one."""
    failed = session.up(waiting(session, 3))
    assert "web: not ready after 3 s: 0 of 1 pods are ready: pod web-" in failed.errors[0]
    assert "no scheduler has handled it yet" in failed.errors[0]
    assert any("0 of 1" in line for line in failed.said)
    before = session.uid("deployment", "web")
    assert session.up(waiting(session, 3)).failed
    mended = session.up(deployment(session))
    assert not mended.failed, mended.errors
    assert session.uid("deployment", "web") == before


@pytest.mark.nightly
def test_the_resource_options_timeout_overrides_the_annotation(session: EngineSession) -> None:
    """This holds for the creation, and for the update by the next run."""

    def within(**times: str) -> Declare:
        timed = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(**times))
        return lambda opts: waiting(session, 600)(pulumi.ResourceOptions.merge(opts, timed))

    assert "not ready after 2 s: " in session.up(within(create="2s", update="600s")).errors[0]
    assert "not ready after 3 s: " in session.up(within(create="600s", update="3s")).errors[0]


def test_a_quota_that_prevents_pods_is_the_reason(session: EngineSession) -> None:
    """The message contains the controller's own text."""
    session.kubectl("create", "quota", "none", "--hard=pods=0")
    failed = session.up(waiting(session, 6))
    assert "exceeded quota: none" in failed.errors[0]


@pytest.mark.nightly
def test_a_full_quota_refuses_and_the_next_run_continues(session: EngineSession) -> None:
    """The preview warns. The run names the object, the quota and the next step."""
    session.kubectl("create", "quota", "few", "--hard=count/secrets=0")
    wait = ("wait", "quota/few", "--for=jsonpath={.status.hard.count/secrets}=0", "--timeout=60s")
    session.kubectl(*wait)

    def declare(opts: pulumi.ResourceOptions) -> None:
        place = {"namespace": session.namespace, "name": "login"}
        k8s.core.v1.Secret("login", metadata=place, string_data={"password": "hunter2hunter2"}, opts=opts)

    shown = session.preview(declare)
    assert not shown.failed
    assert any("exceeded quota: few" in line for line in shown.said)
    failed = session.up(declare)
    assert f"{session.namespace}/login: " in failed.errors[0]
    assert "exceeded quota: few" in failed.errors[0]
    assert "raise the quota" in failed.errors[0]
    session.kubectl("delete", "quota", "few")
    assert session.up(declare).changed["create"] == 1


def test_another_managers_field_is_a_conflict_until_it_is_forced(session: EngineSession) -> None:
    """Another program's value is not overwritten by accident."""
    session.up(deployment(session))
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=scaler", "-f", "-")
    session.kubectl(*words, stdin=json.dumps(theirs))
    failed = session.up(deployment(session, replicas=2))
    assert 'conflict with "scaler"' in failed.errors[0]
    assert ".spec.replicas" in failed.errors[0]
    assert "pulumi.com/patchForce" in failed.errors[0]
    session.settings = {"enable_patch_force": True}
    assert not session.up(deployment(session, replicas=2)).failed
    assert session.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"


def test_a_refused_name_is_reported_before_any_change(session: EngineSession) -> None:
    """The dry run reports it."""
    failed = session.preview(config(session, {"a": "1"}, name="Bad_Name"))
    assert f'{session.namespace}/Bad_Name: ConfigMap "Bad_Name" is invalid' in failed.errors[0]
    assert "correct it" in failed.errors[0]


def test_a_missing_namespace_is_shown_as_a_creation_and_fails_with_the_next_step(session: EngineSession) -> None:
    """A preview cannot know whether the namespace will exist."""
    session.namespace, own = f"{session.namespace}-absent", session.namespace
    try:
        assert session.preview(config(session, {"a": "1"})).changed["create"] == 3
        failed = session.up(config(session, {"a": "1"}))
        assert f"the namespace {session.namespace} does not exist" in failed.errors[0]
    finally:
        session.namespace = own


def expired(cluster: ControlPlane) -> str:
    """Return a kubeconfig with an expired client certificate."""
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(datetime.now(UTC) - timedelta(days=9))
    cert = builder.not_valid_after(datetime.now(UTC) - timedelta(days=1)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    user = {
        "client-certificate-data": base64.b64encode(cert.public_bytes(serialization.Encoding.PEM)).decode(),
        "client-key-data": base64.b64encode(private).decode(),
    }
    return cluster.kubeconfig(user=user)


SECRET = "hunter2hunter2"

BAD: dict[str, tuple[Callable[[ControlPlane], str], str]] = {
    "expired": (expired, "its client certificate expired on"),
    "of another cluster": (
        lambda cluster: cluster.kubeconfig(authority=pki.new_authority("another", 1)[1]),
        "the kubeconfig is for another cluster or out of date",
    ),
    "with other credentials": (lambda cluster: cluster.kubeconfig(token="stale"), "does not accept the kubeconfig's"),
    "with a torn token": (
        lambda cluster: cluster.kubeconfig(token=f"{SECRET}\n{SECRET}"),
        "its token contains a space, a",
    ),
    "without an answer": (lambda cluster: cluster.kubeconfig(server="https://127.0.0.1:1"), "does not answer"),
    "that is no YAML": (lambda cluster: "clusters: [\n  {", "is not YAML (line "),
    "of another kind": (lambda cluster: "apiVersion: v1\nkind: Pod\n", "it has no list `clusters`"),
    "that does not exist": (lambda cluster: "/nowhere/kubeconfig", "the kubeconfig /nowhere/kubeconfig does not exist"),
}


SHORT_TIER = ("expired", "with a torn token", "that does not exist")


@pytest.mark.parametrize(
    "what", [what if what in SHORT_TIER else pytest.param(what, marks=pytest.mark.nightly) for what in BAD]
)
def test_a_bad_kubeconfig_is_reported_and_the_next_run_continues(session: EngineSession, what: str) -> None:
    """The message has the reason and no credentials. No object is taken for deleted."""
    make, words = BAD[what]
    good = session.kubeconfig
    session.up(config(session, {"a": "1"}))
    session.kubeconfig = make(session.cluster)
    failed = session.up(config(session, {"a": "1"}))
    assert any(words in error for error in failed.errors), failed.errors
    assert SECRET not in failed.printed + "".join(failed.errors + failed.said)
    session.kubeconfig = good
    after = session.up(config(session, {"a": "1"}))
    assert not after.failed, after.errors
    assert "create" not in after.changed


def test_an_api_server_that_restarts_is_waited_for(session: EngineSession, in_flight: Start) -> None:
    """A restart during a run is not a failure. The run succeeds if the object becomes ready afterwards."""
    run = in_flight(waiting(session, 600), "0 of 1")
    session.cluster.stop_api()
    session.cluster.start_api()
    session.kubectl("scale", "deployment", "web", "--replicas=0")  # the pod can never start, because there are no nodes
    ended = run.result(240)
    assert not ended.failed, ended.errors
    assert any("the API server is unreachable; waiting for it" in line for line in ended.said)


@pytest.mark.nightly
def test_a_longer_outage_of_the_api_server_is_waited_for(session: EngineSession, in_flight: Start) -> None:
    """An outage of fifteen seconds is within the limit, independent of the request during which it began."""
    run = in_flight(waiting(session, 600), "0 of 1")
    session.cluster.stop_api()
    run.thread.join(15)  # the outage; a run that does not wait ends within it
    assert run.thread.is_alive()
    session.cluster.start_api()
    session.kubectl("scale", "deployment", "web", "--replicas=0")
    ended = run.result(240)
    assert not ended.failed, ended.errors


@pytest.mark.nightly
def test_a_frozen_api_server_does_not_extend_a_runs_timeout(session: EngineSession, in_flight: Start) -> None:
    """It accepts connections and does not answer. The resource's timeout is kept, and the object is recorded."""
    run = in_flight(waiting(session, 8), "0 of 1 pods are ready: pod web-")
    before = session.uid("deployment", "web")
    session.cluster.freeze_api()
    failed = run.result(40)
    assert "web: not ready after 8 s: 0 of 1 pods are ready: pod web-" in failed.errors[0]
    session.cluster.thaw_api()
    again = session.up(deployment(session))
    assert not again.failed, again.errors
    assert session.uid("deployment", "web") == before


@pytest.mark.nightly
def test_a_run_with_a_frozen_api_server_reports_it_and_ends(session: EngineSession) -> None:
    """The server accepts connections, so that a run without a timeout would wait forever."""
    session.cluster.freeze_api()
    began = time.monotonic()
    failed = session.preview(deployment(session))
    assert time.monotonic() - began < 90
    again = f"the API server at {session.cluster.server} does not answer; retrying"
    assert any(again in line for line in failed.said), failed.said
    assert f"{session.namespace}/web: the API server at {session.cluster.server} does not answer" in failed.errors[0]


def test_the_next_run_continues_after_a_killed_run(session: EngineSession, in_flight: Start) -> None:
    """It recognises the created objects as our own, although the state does not contain them."""
    run = in_flight(waiting(session, 600), "0 of 1")
    session.kill(signal.SIGKILL)
    assert run.result(120).failed
    until("the provider ends with its engine", lambda: not session.providers(), 60)
    before = session.uid("deployment", "web")
    assert "web" not in session.resources()
    again = session.up(deployment(session))
    assert not again.failed, again.errors
    assert session.uid("deployment", "web") == before


@pytest.mark.nightly
def test_an_object_that_is_still_being_deleted_is_reported(session: EngineSession, tmp_path: Path) -> None:
    """The state does not contain it, as after a killed run. It is created after the old one is deleted."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        meta = {"name": "settings", "namespace": session.namespace, "annotations": {"pulumi.com/timeoutSeconds": "3"}}
        k8s.core.v1.ConfigMap("settings", metadata={**meta, "finalizers": ["gov.cn/held"]}, data={"a": "1"}, opts=opts)

    session.up(declare)
    before = session.uid("configmap", "settings")
    session.kubectl("delete", "configmap", "settings", "--wait=false")
    with open_session(session.cluster, tmp_path / "another", session.namespace) as other:
        assert other.preview(declare).errors == []
        failed = other.up(declare)
        assert "settings: still there after 3 s: it waits for gov.cn/held; run the same command" in failed.errors[0]
        session.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        again = other.up(declare)
        assert not again.failed, again.errors
        assert session.uid("configmap", "settings") != before
    session.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_progress_contains_no_secret(session: EngineSession) -> None:
    """Not even if a controller quotes an object that it cannot create."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        account = pulumi.Output.secret("hunter2-hunter2")
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"service_account_name": account, **POD}}
        k8s.apps.v1.Deployment(
            "web",
            metadata={
                "name": "web",
                "namespace": session.namespace,
                "annotations": {"pulumi.com/timeoutSeconds": "4"},
            },
            spec={"selector": {"matchLabels": {"app": "web"}}, "template": template},
            opts=opts,
        )

    failed = session.up(declare)
    assert any("serviceaccount" in line and "[secret]" in line for line in failed.said), failed.said
    assert "hunter2" not in "".join(failed.said + failed.errors) + failed.printed


@pytest.mark.nightly
def test_a_cancelled_run_ends_soon_and_records_the_created_object(session: EngineSession, in_flight: Start) -> None:
    """It does not wait for the ten minutes of a Deployment's timeout."""
    run = in_flight(waiting(session, 600), "0 of 1")
    session.kill(signal.SIGINT)
    assert any("cancelled" in error for error in run.result(60).errors)
    assert "web" in session.resources()


# The controllers need a minute or two to come back after these: they stand last, so that no other test waits for that.


@pytest.mark.nightly
def test_a_frozen_api_server_is_detected_and_named(session: EngineSession, in_flight: Start) -> None:
    """Its connections stay open. It is detected after 30 s without data and 30 s of outage."""
    run = in_flight(waiting(session, 600), "0 of 1")
    session.cluster.freeze_api()
    failed = run.result(120)
    assert any("the API server is unreachable; waiting for it" in line for line in failed.said)
    assert f"{session.namespace}/web: the API server at {session.cluster.server} does not answer" in failed.errors[0]


@pytest.mark.nightly
def test_a_crashed_api_server_is_named_and_the_next_run_continues(session: EngineSession, in_flight: Start) -> None:
    """The object of the wait is recorded."""
    run = in_flight(waiting(session, 600), "0 of 1")
    before = session.uid("deployment", "web")
    session.cluster.stop_api()
    failed = run.result(240)
    assert f"{session.namespace}/web: the API server at {session.cluster.server} does not answer" in failed.errors[0]
    assert "run the same command again" in failed.errors[0]
    session.cluster.start_api()
    again = session.up(deployment(session))
    assert not again.failed, again.errors
    assert session.uid("deployment", "web") == before


@pytest.mark.nightly
def test_an_unreachable_cluster_may_be_skipped(session: EngineSession) -> None:
    """Its objects and their state do not change, and new objects fail. Later runs continue."""
    session.settings = {"skip_update_unreachable": True}
    session.up(config(session, {"a": "1"}))
    before = session.resources()["settings"]["outputs"]

    def both(opts: pulumi.ResourceOptions) -> None:
        config(session, {"a": "2"})(opts)
        k8s.core.v1.ConfigMap("new", metadata={"name": "new", "namespace": session.namespace}, data={}, opts=opts)

    session.cluster.stop_api()
    skipped = session.up(config(session, {"a": "2"}))
    assert (skipped.errors, set(skipped.changed)) == ([], {"same"})
    assert any("settings: not read: " in line for line in skipped.said)
    assert any("it is not changed: " in line for line in skipped.said)
    assert session.resources()["settings"]["outputs"] == before
    assert (
        f"{session.namespace}/new: the API server at {session.cluster.server} does not answer"
        in session.up(both).errors[0]
    )
    session.cluster.start_api()
    assert session.up(both).changed["create"] == 1
    assert session.kubectl("get", "configmaps", "-l", "!x", "-o", "jsonpath={.items[*].data.a}").split() == ["2"]


@pytest.mark.nightly
def test_objects_of_a_lost_cluster_are_removed_from_the_state(session: EngineSession) -> None:
    """If the provider's settings allow it, by a refresh and by `destroy`. The cluster's objects are not changed."""
    session.settings = {"delete_unreachable": True}
    session.up(config(session, {"a": "1"}))
    session.cluster.stop_api()
    assert session.drift() == {f"ConfigMap {session.namespace}/settings": ("it is gone",)}
    destroyed = session.destroy()
    assert destroyed.errors == []
    assert any("settings: it is removed from the state: " in line for line in destroyed.said)
    assert session.resources() == {}
    session.cluster.start_api()
    assert session.kubectl("get", "configmap", "settings", "-o", "name") != ""
