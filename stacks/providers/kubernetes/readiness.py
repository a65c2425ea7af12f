"""Readiness of objects: pure rules that judge an object and its related objects, with a reason.

A kind without a rule is ready as soon as it exists. `Failed` is only for states that cannot recover by themselves. A
missing image or a full quota may be repaired during the wait. Such a reason belongs to `Waiting`: the provider reports
it at once, and again at the timeout. A hopeless new version with the annotation `ROLL_BACK` fails before the timeout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stacks.providers.kubernetes.objects import (
    REVISION,
    ROLL_BACK,
    SKIP_AWAIT,
    TEMPLATE_HASH,
    WAIT_FOR,
    Object,
    annotation,
    flagged,
    kind_of,
    label,
    metadata,
    name_of,
)


@dataclass(frozen=True)
class Ready:
    """The object is ready."""


@dataclass(frozen=True)
class Waiting:
    """The object is not ready yet. `reason` is the known obstacle."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The object cannot become ready by waiting."""

    reason: str


Verdict = Ready | Waiting | Failed
READY = Ready()


@dataclass(frozen=True, kw_only=True)
class Related:
    """Data related to an object: its pods, warnings about them, endpoint slices, the binding mode of its class.

    For a Deployment with rollback there are two more: `newest` is the pod template hash of its newest pods. `absent`
    counts for each pod how often the registry reported its image as missing. `deadline` is the condition of a progress
    deadline that an earlier version missed.
    """

    pods: Sequence[Object] = ()
    warnings: Sequence[str] = ()
    newest: str = ""
    absent: Mapping[str, int] = field(default_factory=dict)
    deadline: Mapping[str, Any] = field(default_factory=dict)
    slices: Sequence[Object] = ()
    binding_mode: str = ""


NOTHING = Related()

_STUCK = {
    "CrashLoopBackOff": "its container {container} starts and ends again and again",
    "ImagePullBackOff": "the image {image} cannot be fetched",
    "ErrImagePull": "the image {image} cannot be fetched",
    "ErrImageNeverPull": "the image {image} is not on the node, and pulling it is forbidden",
    "InvalidImageName": "the image name {image} is not valid",
    "CreateContainerConfigError": "its container {container} cannot be set up",
    "CreateContainerError": "its container {container} cannot be created",
    "RunContainerError": "its container {container} cannot be started",
}


_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
CRASHES = 3
"""Ends of a container of a new version before the provider gives up the version: about half a minute."""
REFUSALS = 2
"""Reports of a missing image before the provider gives up. A single one may come from a newly started registry."""
_NO_SUCH_IMAGE = re.compile(r"^Failed to pull image .*(not found|manifest unknown)", re.DOTALL)
_COMPLETE, _LATE = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"


def judge(obj: Object, related: Related = NOTHING) -> Verdict:
    """Return the verdict on an object."""
    if flagged(obj, SKIP_AWAIT):
        return READY
    if wanted := annotation(obj, WAIT_FOR):
        return _wait_conditions_met(obj, wanted)
    rule = _RULES.get((kind_of(obj).group, kind_of(obj).kind))
    return rule(obj, related) if rule else READY


def waits(obj: Object) -> bool:
    """Return whether the object has anything to wait for."""
    kind = kind_of(obj)
    return not flagged(obj, SKIP_AWAIT) and bool(annotation(obj, WAIT_FOR) or (kind.group, kind.kind) in _RULES)


def done(job: Object) -> bool:
    """Return whether a Job has completed, even if its author does not wait for it."""
    return isinstance(_job(job, NOTHING), Ready)


def complete(deployment: Object) -> bool:
    """Return whether all pods of the current version were ready once. Later pod failures do not change this."""
    return _observed(deployment) and _condition(deployment, "Progressing").get("reason") == _COMPLETE


def missed_deadline(deployment: Object) -> Mapping[str, Any]:
    """Return the condition of a missed deadline from before the Deployment's latest change; empty if there is none."""
    progress = _condition(deployment, "Progressing")
    return progress if not _observed(deployment) and progress.get("reason") == _LATE else {}


def absent_images(events: Sequence[Object]) -> dict[str, int]:
    """Count for each pod how often the registry reported its image as missing."""
    counted: dict[str, int] = {}
    for event in events:
        if _NO_SUCH_IMAGE.match(str(event.get("message") or "")):
            pod = str((event.get("involvedObject") or {}).get("name") or "")
            counted[pod] = counted.get(pod, 0) + _times(event)
    return counted


def concerns(event: Object, obj: Object) -> bool:
    """Return whether an event is about an object. If the event has a uid, it must be the object's uid."""
    about, uid = event.get("involvedObject") or {}, metadata(obj).get("uid")
    if about.get("name") != name_of(obj) or about.get("kind", obj.get("kind")) != obj.get("kind"):
        return False
    return about.get("uid", uid) == uid


def owned(objects: Sequence[Object], owner: str) -> Sequence[Object]:
    """Return the objects that belong to the object with that uid."""
    return [one for one in objects if any(ref.get("uid") == owner for ref in _owners(one))]


def newest_version(replica_sets: Sequence[Object]) -> str:
    """Return the pod template hash of a Deployment's newest version."""
    latest = max(replica_sets, key=lambda one: int(annotation(one, REVISION) or 0), default={})
    return label(latest, TEMPLATE_HASH)


def selector_of(obj: Object) -> str:
    """Return the label selector of an object's pods as a query; empty if there is no selector."""
    spec = obj.get("spec") or {}
    labels = spec.get("selector") or {}
    if kind_of(obj).kind not in ("Service", "ReplicationController"):
        labels = labels.get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def pods_reason(related: Related) -> str:
    """Return the reason of the newest pod that is not ready, or the latest warning; empty if no reason is known."""
    newest = sorted(related.pods, key=lambda pod: str(metadata(pod).get("creationTimestamp")), reverse=True)
    for pod in newest:
        verdict = _pod(pod, NOTHING)
        if not isinstance(verdict, Ready):
            return f"pod {name_of(pod)}: {verdict.reason}"
    return related.warnings[-1] if related.warnings else ""


def _pod(obj: Object, related: Related) -> Verdict:
    status = obj.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded" or _condition(obj, "Ready").get("status") == "True":
        return READY
    if phase == "Failed":
        return Failed(status.get("message") or status.get("reason") or _ended(status) or "it has failed")
    scheduled = _condition(obj, "PodScheduled")
    if scheduled.get("status") == "False":
        return Waiting(f"no node takes it: {scheduled.get('message') or scheduled.get('reason') or 'no reason given'}")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if reason := _container(container):
            return Waiting(reason)
    if related.warnings:
        return Waiting(related.warnings[-1])
    if not scheduled:
        return Waiting("no scheduler has handled it yet")
    return Waiting("its containers are starting" if phase == "Pending" else "its containers are not ready")


def _container(status: Mapping[str, Any]) -> str:
    waiting = (status.get("state") or {}).get("waiting") or {}
    last = ((status.get("lastState") or {}).get("terminated") or (status.get("state") or {}).get("terminated")) or {}
    reason = waiting.get("reason")
    if reason not in _STUCK:
        return ""
    text = _STUCK[reason].format(container=status.get("name"), image=status.get("image"))
    if reason == "CrashLoopBackOff" and last:
        text += f", last with exit code {last.get('exitCode')}" + _said(last)
    message = waiting.get("message")
    return f"{text} ({reason}{': ' + message if message else ''})"


def _said(terminated: Mapping[str, Any]) -> str:
    message = str(terminated.get("message") or "").strip()
    return f" and the message: {message.splitlines()[-1]}" if message else ""


def _ended(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"its container {container.get('name')} ended with exit code {ended['exitCode']}{_said(ended)}"
    return ""


def _deployment(obj: Object, related: Related) -> Verdict:
    if not _observed(obj):
        return Waiting("the controller has not seen it yet")
    wanted, status = _replicas(obj), obj.get("status") or {}
    progress = _condition(obj, "Progressing")
    if progress.get("reason") == _LATE and progress != related.deadline:
        return Failed(_with(str(progress.get("message") or "its progress deadline is exceeded"), pods_reason(related)))
    if flagged(obj, ROLL_BACK) and not complete(obj) and (lost := _hopeless_reason(related)):
        return Failed(f"its new version is given up: {lost}")
    updated, available = int(status.get("updatedReplicas") or 0), int(status.get("availableReplicas") or 0)
    if updated < wanted:
        refused = _condition(obj, "ReplicaFailure")
        reason = str(refused.get("message") or "") if refused.get("status") == "True" else ""
        return Waiting(_with(f"{updated} of {wanted} new pods exist", reason or pods_reason(related)))
    if int(status.get("replicas") or 0) > updated:
        return Waiting(f"{int(status['replicas']) - updated} old pods are still there")
    if available < updated:
        return Waiting(_with(f"{available} of {wanted} pods are ready", pods_reason(related)))
    return READY


def _hopeless_reason(related: Related) -> str:
    """Return the reason why the newest pods can never become ready; empty if they still may."""
    for pod in related.pods:
        if not related.newest or label(pod, TEMPLATE_HASH) != related.newest:
            continue  # pods of the previous version may fail: the new version may be their repair
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            if _is_hopeless(container, related.absent.get(name_of(pod), 0)):
                return f"pod {name_of(pod)}: {_container(container)}"
    return ""


def _is_hopeless(status: Mapping[str, Any], absent: int) -> bool:
    reason = ((status.get("state") or {}).get("waiting") or {}).get("reason")
    if reason == "CrashLoopBackOff":
        return int(status.get("restartCount") or 0) >= CRASHES
    if reason in ("ImagePullBackOff", "ErrImagePull"):
        return absent >= REFUSALS
    return reason in _HOPELESS


def _replica_set(obj: Object, related: Related) -> Verdict:
    if not _observed(obj):
        return Waiting("the controller has not seen it yet")
    wanted, available = _replicas(obj), int((obj.get("status") or {}).get("availableReplicas") or 0)
    if available >= wanted:
        return READY
    refused = _condition(obj, "ReplicaFailure")
    reason = str(refused.get("message") or "") if refused.get("status") == "True" else ""
    return Waiting(_with(f"{available} of {wanted} pods are ready", reason or pods_reason(related)))


def _stateful_set(obj: Object, related: Related) -> Verdict:
    if not _observed(obj):
        return Waiting("the controller has not seen it yet")
    spec, status, wanted = obj.get("spec") or {}, obj.get("status") or {}, _replicas(obj)
    ready = int(status.get("readyReplicas") or 0)
    if ready < wanted:
        return Waiting(_with(f"{ready} of {wanted} pods are ready", pods_reason(related)))
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return READY
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    if partition and updated < wanted - partition:
        return Waiting(f"{updated} of {wanted - partition} pods have the new version")
    if not partition and wanted and status.get("updateRevision") != status.get("currentRevision"):
        return Waiting(_with(f"{updated} of {wanted} pods have the new version", pods_reason(related)))
    return READY


def _daemon_set(obj: Object, related: Related) -> Verdict:
    if not _observed(obj):
        return Waiting("the controller has not seen it yet")
    status = obj.get("status") or {}
    wanted = int(status.get("desiredNumberScheduled") or 0)
    on_delete = ((obj.get("spec") or {}).get("updateStrategy") or {}).get("type") == "OnDelete"
    updated, available = int(status.get("updatedNumberScheduled") or 0), int(status.get("numberAvailable") or 0)
    if not on_delete and updated < wanted:
        return Waiting(_with(f"{updated} of {wanted} nodes have the new version", pods_reason(related)))
    if available < wanted:
        return Waiting(_with(f"it is ready on {available} of {wanted} nodes", pods_reason(related)))
    return READY


def _job(obj: Object, related: Related) -> Verdict:
    if (obj.get("spec") or {}).get("suspend") or _condition(obj, "Complete").get("status") == "True":
        return READY
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        text = failed.get("message") or failed.get("reason") or "it has failed"
        return Failed(_with(str(text), pods_reason(related)))
    status, wanted = obj.get("status") or {}, int((obj.get("spec") or {}).get("completions") or 1)
    return Waiting(_with(f"{int(status.get('succeeded') or 0)} of {wanted} runs are done", pods_reason(related)))


def _service(obj: Object, related: Related) -> Verdict:
    spec = obj.get("spec") or {}
    if spec.get("type") == "LoadBalancer" and not ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return Waiting("no load balancer has assigned an address yet")
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
        return READY
    endpoints = [endpoint for found in related.slices for endpoint in found.get("endpoints") or ()]
    if any((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints):
        return READY
    if not related.pods:
        return Waiting(f"no pod has its labels ({selector_of(obj)})")
    return Waiting(_with("not one of its pods is ready", pods_reason(related)))


def _ingress(obj: Object, related: Related) -> Verdict:
    if ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return READY
    return Waiting("no ingress controller has assigned an address yet")


def _claim(obj: Object, related: Related) -> Verdict:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Lost":
        return Failed("its volume is lost")
    if phase == "Bound" or related.binding_mode == "WaitForFirstConsumer":
        return READY  # some classes bind a volume only when a pod needs it
    return Waiting(related.warnings[-1] if related.warnings else "no volume is bound to it yet")


def _volume(obj: Object, related: Related) -> Verdict:
    status = obj.get("status") or {}
    if status.get("phase") in ("Available", "Bound"):
        return READY
    if status.get("phase") == "Failed":
        return Failed(str(status.get("message") or "it has failed"))
    return Waiting(f"its phase is {status.get('phase') or 'not known yet'}")


def _namespace(obj: Object, related: Related) -> Verdict:
    phase = (obj.get("status") or {}).get("phase", "Active")
    return READY if phase == "Active" else Waiting(f"its phase is {phase}: an older one of this name is being deleted")


def _definition(obj: Object, related: Related) -> Verdict:
    names = _condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return Failed(f"its names are not accepted: {names.get('message')}")
    if _condition(obj, "Established").get("status") == "True":
        return READY
    return Waiting("the API server does not serve it yet")


def _quota(obj: Object, related: Related) -> Verdict:
    from stacks.providers.kubernetes import quantities

    wanted = (obj.get("spec") or {}).get("hard") or {}
    counted = (obj.get("status") or {}).get("hard") or {}
    if wanted.keys() == counted.keys() and all(
        quantities.value(wanted[k]) == quantities.value(counted[k]) for k in wanted
    ):
        return READY
    return Waiting("the controller has not counted what is used yet")


def _account_token(obj: Object, related: Related) -> Verdict:
    if obj.get("type") != "kubernetes.io/service-account-token" or (obj.get("data") or {}).get("token"):
        return READY
    return Waiting("the controller has not put a token into it yet")


_RULES: dict[tuple[str, str], Callable[[Object, Related], Verdict]] = {
    ("", "Namespace"): _namespace,
    ("", "PersistentVolume"): _volume,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replica_set,
    ("", "ResourceQuota"): _quota,
    ("", "Secret"): _account_token,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
    ("networking.k8s.io", "Ingress"): _ingress,
}


@dataclass(frozen=True)
class _WaitCondition:
    """One condition of the annotation waitFor."""

    text: str
    path: tuple[str, ...] = ()
    value: str | None = None
    condition: str = ""
    status: str = field(default="True")


class BadWaitCondition(ValueError):
    """The annotation waitFor is invalid."""


def wait_conditions(text: str) -> tuple[_WaitCondition, ...]:
    """Parse the annotation: `condition=Ready`, `jsonpath={.status.phase}=Active`, or a JSON list of these."""
    try:
        several = json.loads(text) if text.lstrip().startswith("[") else [text]
    except ValueError as error:
        raise BadWaitCondition(f"{WAIT_FOR}: {text} is not a JSON list") from error
    return tuple(_wait_condition(str(one)) for one in several)


def _wait_condition(text: str) -> _WaitCondition:
    if found := re.fullmatch(r"condition=([^=]+)(?:=(.+))?", text):
        return _WaitCondition(text, condition=found[1], status=found[2] or "True")
    if found := re.fullmatch(r"jsonpath=\{\.([\w.-]+)\}(?:=(.*))?", text):
        return _WaitCondition(text, path=tuple(found[1].split(".")), value=found[2])
    raise BadWaitCondition(f"{WAIT_FOR}: {text} is invalid; write condition=NAME[=STATUS] or jsonpath={{.a.b}}[=VALUE]")


def _wait_conditions_met(obj: Object, text: str) -> Verdict:
    try:
        missing = [wanted.text for wanted in wait_conditions(text) if not _holds(obj, wanted)]
    except BadWaitCondition as error:
        return Failed(str(error))
    return Waiting(f"{', '.join(missing)} is not met yet") if missing else READY


def _holds(obj: Object, wanted: _WaitCondition) -> bool:
    if wanted.condition:
        return str(_condition(obj, wanted.condition).get("status", "")).lower() == wanted.status.lower()
    value: Any = obj
    for step in wanted.path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value is not None and (wanted.value is None or _text(value) == wanted.value)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, Mapping, list)) else str(value)


def _condition(obj: Object, name: str) -> Mapping[str, Any]:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == name), {})


def _observed(obj: Object) -> bool:
    return int((obj.get("status") or {}).get("observedGeneration") or 0) >= int(metadata(obj).get("generation") or 0)


def _owners(obj: Object) -> Sequence[Mapping[str, Any]]:
    return metadata(obj).get("ownerReferences") or ()


def _times(event: Object) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def _replicas(obj: Object) -> int:
    wanted = (obj.get("spec") or {}).get("replicas")
    return 1 if wanted is None else int(wanted)


def _with(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text
