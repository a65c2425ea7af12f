"""What goes wrong ends with the resource, the reason and the next step, and the next run goes on."""

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
from tests.integration.kubernetes.conftest import Declare, Desk, Flight, open_desk
from tests.integration.kubernetes.test_life import POD, config, deployment
from tests.polling import until
from tools.envtest import ControlPlane

Start = Callable[[Declare, str], Flight]


def waiting(desk: Desk, seconds: int, quota: bool = False) -> Declare:
    """A Deployment whose pods no node takes: there is none."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        container = {"name": "web", "image": "registry.invalid/web:1"}
        k8s.apps.v1.Deployment(
            "web",
            metadata={
                "name": "web",
                "namespace": desk.namespace,
                "annotations": {"pulumi.com/timeoutSeconds": str(seconds)},
            },
            spec={
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )

    return declare


def test_what_does_not_become_ready_fails_in_time_with_its_reason(desk: Desk) -> None:
    """It is recorded as made: the next run waits for it again and does not make a second one."""
    failed = desk.up(waiting(desk, 3))
    assert "web: not ready after 3 s: 0 of 1 pods are ready: pod web-" in failed.faults[0]
    assert "no scheduler has handled it yet" in failed.faults[0]
    assert any("0 of 1" in line for line in failed.said)
    before = desk.uid("deployment", "web")
    assert desk.up(waiting(desk, 3)).failed
    mended = desk.up(deployment(desk))
    assert not mended.failed, mended.faults
    assert desk.uid("deployment", "web") == before


def test_the_resource_options_time_goes_before_the_annotations(desk: Desk) -> None:
    """For the creation, and for the update that the next run is."""

    def within(**times: str) -> Declare:
        timed = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(**times))
        return lambda opts: waiting(desk, 600)(pulumi.ResourceOptions.merge(opts, timed))

    assert "not ready after 2 s: " in desk.up(within(create="2s", update="600s")).faults[0]
    assert "not ready after 3 s: " in desk.up(within(create="600s", update="3s")).faults[0]


def test_a_quota_that_keeps_pods_away_is_the_reason(desk: Desk) -> None:
    """The controller's own words are told."""
    desk.kubectl("create", "quota", "none", "--hard=pods=0")
    failed = desk.up(waiting(desk, 6))
    assert "exceeded quota: none" in failed.faults[0]


def test_a_full_quota_refuses_and_the_next_run_goes_on(desk: Desk) -> None:
    """The preview warns; the run names the object, the quota and the way out."""
    desk.kubectl("create", "quota", "few", "--hard=count/secrets=0")
    wait = ("wait", "quota/few", "--for=jsonpath={.status.hard.count/secrets}=0", "--timeout=60s")
    desk.kubectl(*wait)

    def declare(opts: pulumi.ResourceOptions) -> None:
        place = {"namespace": desk.namespace, "name": "login"}
        k8s.core.v1.Secret("login", metadata=place, string_data={"password": "hunter2hunter2"}, opts=opts)

    shown = desk.preview(declare)
    assert not shown.failed
    assert any("exceeded quota: few" in line for line in shown.said)
    failed = desk.up(declare)
    assert f"{desk.namespace}/login: " in failed.faults[0]
    assert "exceeded quota: few" in failed.faults[0]
    assert "raise the quota" in failed.faults[0]
    desk.kubectl("delete", "quota", "few")
    assert desk.up(declare).changed["create"] == 1


def test_another_managers_field_is_a_conflict_until_it_is_taken(desk: Desk) -> None:
    """Another program's value is not overwritten by chance."""
    desk.up(deployment(desk))
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=scaler", "-f", "-")
    desk.kubectl(*words, stdin=json.dumps(theirs))
    failed = desk.up(deployment(desk, replicas=2))
    assert 'conflict with "scaler"' in failed.faults[0]
    assert ".spec.replicas" in failed.faults[0]
    assert "pulumi.com/patchForce" in failed.faults[0]
    desk.settings = {"enable_patch_force": True}
    assert not desk.up(deployment(desk, replicas=2)).failed
    assert desk.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"


def test_a_refused_name_is_told_before_anything_is_changed(desk: Desk) -> None:
    """The dry run tells it."""
    failed = desk.preview(config(desk, {"a": "1"}, name="Bad_Name"))
    assert f'{desk.namespace}/Bad_Name: ConfigMap "Bad_Name" is invalid' in failed.faults[0]
    assert "correct it" in failed.faults[0]


def test_a_missing_namespace_is_shown_as_a_creation_and_fails_with_the_way_out(desk: Desk) -> None:
    """A preview cannot know whether it will be there."""
    desk.namespace, own = f"{desk.namespace}-absent", desk.namespace
    try:
        assert desk.preview(config(desk, {"a": "1"})).changed["create"] == 3
        failed = desk.up(config(desk, {"a": "1"}))
        assert f"the namespace {desk.namespace} does not exist" in failed.faults[0]
    finally:
        desk.namespace = own


def expired(cluster: ControlPlane) -> str:
    """A kubeconfig whose client certificate has ended."""
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


@pytest.mark.parametrize("what", BAD)
def test_a_bad_kubeconfig_is_told_and_the_next_run_goes_on(desk: Desk, what: str) -> None:
    """With the reason in words and without the credentials; no object is thought to be gone."""
    make, words = BAD[what]
    good = desk.kubeconfig
    desk.up(config(desk, {"a": "1"}))
    desk.kubeconfig = make(desk.cluster)
    failed = desk.up(config(desk, {"a": "1"}))
    assert any(words in fault for fault in failed.faults), failed.faults
    assert SECRET not in failed.printed + "".join(failed.faults + failed.said)
    desk.kubeconfig = good
    after = desk.up(config(desk, {"a": "1"}))
    assert not after.failed, after.faults
    assert "create" not in after.changed


def test_an_api_server_that_restarts_is_waited_for(desk: Desk, in_flight: Start) -> None:
    """A restart in the middle of a run is no failure: what becomes ready after it ends the run well."""
    flight = in_flight(waiting(desk, 600), "0 of 1")
    desk.cluster.stop_api()
    desk.cluster.start_api()
    desk.kubectl("scale", "deployment", "web", "--replicas=0")  # no node will ever take the pod
    ended = flight.result(240)
    assert not ended.failed, ended.faults
    assert any("the API server is unreachable; waiting for it" in line for line in ended.said)


def test_an_api_server_that_is_away_for_long_is_waited_for(desk: Desk, in_flight: Start) -> None:
    """Fifteen seconds are within what is waited for, whatever else was being asked when it went."""
    flight = in_flight(waiting(desk, 600), "0 of 1")
    desk.cluster.stop_api()
    flight.thread.join(15)  # the outage; a run that does not wait ends within it
    assert flight.thread.is_alive()
    desk.cluster.start_api()
    desk.kubectl("scale", "deployment", "web", "--replicas=0")
    ended = flight.result(240)
    assert not ended.failed, ended.faults


def test_a_frozen_api_server_holds_no_run_beyond_its_own_time(desk: Desk, in_flight: Start) -> None:
    """It takes connections and answers none: the resource's time is kept, and what made it is recorded."""
    flight = in_flight(waiting(desk, 8), "0 of 1 pods are ready: pod web-")
    before = desk.uid("deployment", "web")
    desk.cluster.freeze_api()
    failed = flight.result(40)
    assert "web: not ready after 8 s: 0 of 1 pods are ready: pod web-" in failed.faults[0]
    desk.cluster.thaw_api()
    again = desk.up(deployment(desk))
    assert not again.failed, again.faults
    assert desk.uid("deployment", "web") == before


def test_a_run_that_meets_a_frozen_api_server_says_so_and_ends(desk: Desk) -> None:
    """Its connections are accepted, so that it could wait for ever."""
    desk.cluster.freeze_api()
    began = time.monotonic()
    failed = desk.preview(deployment(desk))
    assert time.monotonic() - began < 90
    again = f"the API server at {desk.cluster.server} does not answer; retrying"
    assert any(again in line for line in failed.said), failed.said
    assert f"{desk.namespace}/web: the API server at {desk.cluster.server} does not answer" in failed.faults[0]


def test_a_killed_run_is_gone_on_with(desk: Desk, in_flight: Start) -> None:
    """What it had made is known again as our own, although no state tells of it."""
    flight = in_flight(waiting(desk, 600), "0 of 1")
    desk.kill(signal.SIGKILL)
    assert flight.result(120).failed
    until("the provider ends with its engine", lambda: not desk.providers(), 60)
    before = desk.uid("deployment", "web")
    assert "web" not in desk.resources()
    again = desk.up(deployment(desk))
    assert not again.failed, again.faults
    assert desk.uid("deployment", "web") == before


def test_one_that_is_still_ending_is_told_with_what_keeps_it(desk: Desk, tmp_path: Path) -> None:
    """Nothing is recorded of it, as after a killed run, so it is to be made: after the old one has gone."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        meta = {"name": "settings", "namespace": desk.namespace, "annotations": {"pulumi.com/timeoutSeconds": "3"}}
        k8s.core.v1.ConfigMap("settings", metadata={**meta, "finalizers": ["gov.cn/held"]}, data={"a": "1"}, opts=opts)

    desk.up(declare)
    before = desk.uid("configmap", "settings")
    desk.kubectl("delete", "configmap", "settings", "--wait=false")
    with open_desk(desk.cluster, tmp_path / "another", desk.namespace) as other:
        assert other.preview(declare).faults == []
        failed = other.up(declare)
        assert "settings: still there after 3 s: it waits for gov.cn/held; run the same command" in failed.faults[0]
        desk.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        again = other.up(declare)
        assert not again.failed, again.faults
        assert desk.uid("configmap", "settings") != before
    desk.kubectl("patch", "configmap", "settings", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_progress_holds_no_secret(desk: Desk) -> None:
    """Not even where a controller quotes what it cannot make."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        account = pulumi.Output.secret("hunter2-hunter2")
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"service_account_name": account, **POD}}
        k8s.apps.v1.Deployment(
            "web",
            metadata={
                "name": "web",
                "namespace": desk.namespace,
                "annotations": {"pulumi.com/timeoutSeconds": "4"},
            },
            spec={"selector": {"matchLabels": {"app": "web"}}, "template": template},
            opts=opts,
        )

    failed = desk.up(declare)
    assert any("serviceaccount" in line and "[secret]" in line for line in failed.said), failed.said
    assert "hunter2" not in "".join(failed.said + failed.faults) + failed.printed


def test_a_cancelled_run_ends_soon_and_records_what_it_made(desk: Desk, in_flight: Start) -> None:
    """Not only after the ten minutes that a Deployment may take."""
    flight = in_flight(waiting(desk, 600), "0 of 1")
    desk.kill(signal.SIGINT)
    assert any("cancelled" in fault for fault in flight.result(60).faults)
    assert "web" in desk.resources()


# The controllers need a minute or two to come back after these: they stand last, so that no other test waits for that.


def test_a_frozen_api_server_is_found_out_and_named(desk: Desk, in_flight: Start) -> None:
    """Although every connection to it still stands: within half a minute of quiet, and half a minute of patience."""
    flight = in_flight(waiting(desk, 600), "0 of 1")
    desk.cluster.freeze_api()
    failed = flight.result(120)
    assert any("the API server is unreachable; waiting for it" in line for line in failed.said)
    assert f"{desk.namespace}/web: the API server at {desk.cluster.server} does not answer" in failed.faults[0]


def test_an_api_server_that_dies_is_named_and_the_next_run_goes_on(desk: Desk, in_flight: Start) -> None:
    """The object that was waited for is recorded."""
    flight = in_flight(waiting(desk, 600), "0 of 1")
    before = desk.uid("deployment", "web")
    desk.cluster.stop_api()
    failed = flight.result(240)
    assert f"{desk.namespace}/web: the API server at {desk.cluster.server} does not answer" in failed.faults[0]
    assert "run the same command again" in failed.faults[0]
    desk.cluster.start_api()
    again = desk.up(deployment(desk))
    assert not again.failed, again.faults
    assert desk.uid("deployment", "web") == before


def test_a_cluster_that_is_away_may_be_skipped(desk: Desk) -> None:
    """What it has is left as it is, also in the state; what is new waits for it; afterwards all goes on."""
    desk.settings = {"skip_update_unreachable": True}
    desk.up(config(desk, {"a": "1"}))
    before = desk.resources()["settings"]["outputs"]

    def both(opts: pulumi.ResourceOptions) -> None:
        config(desk, {"a": "2"})(opts)
        k8s.core.v1.ConfigMap("new", metadata={"name": "new", "namespace": desk.namespace}, data={}, opts=opts)

    desk.cluster.stop_api()
    skipped = desk.up(config(desk, {"a": "2"}))
    assert (skipped.faults, set(skipped.changed)) == ([], {"same"})
    assert any("settings: not read: " in line for line in skipped.said)
    assert any("it is not changed: " in line for line in skipped.said)
    assert desk.resources()["settings"]["outputs"] == before
    assert f"{desk.namespace}/new: the API server at {desk.cluster.server} does not answer" in desk.up(both).faults[0]
    desk.cluster.start_api()
    assert desk.up(both).changed["create"] == 1
    assert desk.kubectl("get", "configmaps", "-l", "!x", "-o", "jsonpath={.items[*].data.a}").split() == ["2"]


def test_a_cluster_that_is_gone_for_good_leaves_the_state(desk: Desk) -> None:
    """Where the provider says so: by a refresh, and by the end of all. What is left in the cluster is left there."""
    desk.settings = {"delete_unreachable": True}
    desk.up(config(desk, {"a": "1"}))
    desk.cluster.stop_api()
    assert desk.drift() == {f"ConfigMap {desk.namespace}/settings": ("it is gone",)}
    destroyed = desk.destroy()
    assert destroyed.faults == []
    assert any("settings: it is removed from the state: " in line for line in destroyed.said)
    assert desk.resources() == {}
    desk.cluster.start_api()
    assert desk.kubectl("get", "configmap", "settings", "-o", "name") != ""
