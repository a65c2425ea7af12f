"""The service's pods on the lab's nodes: finds, signals, replaces and kills them from the node itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from playbooks.render.kubernetes.rbac import ADMIN_CONFIG
from tests.lab.estate_on_lab import Hosts
from tests.polling import until

SERVICE = "approval"
FIND = r"""
for group in /proc/[0-9]*/cgroup; do
    grep -qs /kubepods "$group" || continue
    pid=${group#/proc/} pid=${pid%/cgroup}
    case " $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" in *" -m $1 ") echo "$pid" ;; esac
done
"""
"""Lists processes `python -m SERVICE` in a pod's control group. Other such processes on the host do not count."""


def processes(hosts: Hosts, host: str) -> list[str]:
    """Return the process IDs of the service's pods on a node, in the node's numbering."""
    return hosts.run(host, "sh", "-c", FIND, "sh", SERVICE).split()


def signal(hosts: Hosts, host: str, name: str, *pids: str) -> None:
    """Send a signal to processes. A process that has already ended is no error."""
    hosts.run(host, "sh", "-c", 'signal=$1; shift; for pid; do kill -s "$signal" "$pid" || :; done', "sh", name, *pids)


def kubectl(hosts: Hosts, host: str, *argv: str, timeout_s: float = 120) -> str:
    """Run kubectl as the site's administrator, on the node with the control plane. Return its output."""
    return hosts.run(host, "kubectl", f"--kubeconfig={ADMIN_CONFIG}", *argv, timeout_s=timeout_s)


def names(hosts: Hosts, host: str) -> list[str]:
    """Return the names of the service's pods at the site, without pods that are being deleted."""
    namespace = hosts.lab.estate.service(SERVICE).bureau
    text = kubectl(
        hosts, host, "get", "pods", f"--namespace={namespace}", f"--selector=app.kubernetes.io/name={SERVICE}",
        "--output=json",
    )  # fmt: skip
    found = [pod["metadata"] for pod in json.loads(text)["items"]]
    return [pod["name"] for pod in found if "deletionTimestamp" not in pod]


def all_run(hosts: Hosts, host: str) -> bool:
    """Return whether the site has all declared pods of the service, and all are ready."""
    service = hosts.lab.estate.service(SERVICE)
    text = kubectl(
        hosts, host, "get", "deployment", SERVICE, f"--namespace={service.bureau}",
        "--output=jsonpath={.status.readyReplicas} {.status.updatedReplicas} {.status.unavailableReplicas}",
    )  # fmt: skip
    wanted = str(service.pods.replicas[hosts.lab.estate.host(host).at])
    return text.split() == [wanted, wanted]


FORGET = (
    'ctr --namespace k8s.io images list --quiet | grep "/$1[@:]" | xargs -r ctr --namespace k8s.io images remove --sync'
)


def forget_image(hosts: Hosts, host: str) -> None:
    """Remove the service's image from the node. Running pods continue."""
    hosts.run(host, "sh", "-c", FORGET, "sh", SERVICE)


def roll_out(hosts: Hosts, host: str) -> None:
    """Replace every pod of the service at the site, and wait for the new pods."""
    namespace = hosts.lab.estate.service(SERVICE).bureau
    for act in (("restart",), ("status", "--timeout=90s")):
        kubectl(hosts, host, "rollout", act[0], f"deployment/{SERVICE}", f"--namespace={namespace}", *act[1:])


def pulled(hosts: Hosts, host: str) -> set[str]:
    """Return the pods of the service for which the node pulled the image from a registry."""
    namespace = hosts.lab.estate.service(SERVICE).bureau
    text = kubectl(
        hosts, host, "get", "events", f"--namespace={namespace}", "--field-selector=reason=Pulled", "--output=json"
    )
    events = [event for event in json.loads(text)["items"] if event["message"].startswith("Successfully pulled")]
    return {event["involvedObject"]["name"] for event in events}


@contextmanager
def none(hosts: Hosts, host: str) -> Iterator[None]:
    """Kill all pods of the service on the node. No pod starts again before the end of the block: kubelet is stopped."""
    hosts.run(host, "systemctl", "stop", "kubelet")
    try:
        signal(hosts, host, "KILL", *processes(hosts, host))
        until(f"no pod of {host} runs", lambda: not processes(hosts, host), 10)
        yield
    finally:
        hosts.run(host, "systemctl", "start", "kubelet")
        until(f"the pods of {host} run again", lambda: all_run(hosts, host), 90)
