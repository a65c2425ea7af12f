"""Reports pods to the API server like a kubelet, for a cluster without nodes, over one connection."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tools.envtest import ControlPlane
from workstation.errors import GovcloudError

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
CRASHES = 3
_NUMBERS = itertools.count(1)


class Kubelet:
    """The kubelet of the node `host`, for the pods of one namespace."""

    def __init__(self, cluster: ControlPlane, host: str, namespace: str) -> None:
        trust = ssl.create_default_context(cadata=cluster.authority.cert)
        self._connection = http.client.HTTPSConnection(cluster.address, cluster.port, context=trust, timeout=30)
        self._authorization = f"Bearer {cluster.token}"
        self._host, self._pods = host, f"/api/v1/namespaces/{namespace}/pods"

    def close(self) -> None:
        self._connection.close()

    def report_pods(self, good: set[str], bad: set[str]) -> None:
        """Report the status of every pod once.

        A pod of an image with a good digest is scheduled and ready. A pod of a bad image crashes again and again. A pod
        that must terminate is deleted.
        """
        with suppress(GovcloudError, OSError, http.client.HTTPException):  # a pod may disappear meanwhile
            for pod in self._call("GET", self._pods)["items"]:
                name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
                digest = container["image"].rsplit("@", 1)[-1]
                if "deletionTimestamp" in pod["metadata"]:
                    self._call("DELETE", f"{self._pods}/{name}", {"gracePeriodSeconds": 0})
                elif digest in good | bad and not pod["status"].keys() & {"podIP", "containerStatuses"}:
                    if "nodeName" not in pod["spec"]:
                        self._schedule(name)
                    self._report(name, _running() if digest in good else _crashing(container))

    def _schedule(self, pod: str) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._host}}
        self._call("PATCH", f"/api/v1/nodes/{self._host}?fieldManager=kubelet&force=true", node, APPLY)
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}}
        target = {"apiVersion": "v1", "kind": "Node", "name": self._host}
        self._call("POST", f"{self._pods}/{pod}/binding", {**binding, "target": target})

    def _report(self, pod: str, status: Mapping[str, Any]) -> None:
        self._call("PATCH", f"{self._pods}/{pod}/status", {"status": status}, MERGE)

    def _call(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        headers = {"Authorization": self._authorization, "Content-Type": content}
        try:
            self._connection.request(method, path, json.dumps(body) if body else None, headers)
            response = self._connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if response.status >= 400:
            raise GovcloudError(f"{method} {path}: {response.status}", text)
        return json.loads(text)


def _conditions(ready: bool) -> list[dict[str, str]]:
    states = {"PodScheduled": True, "Ready": ready, "ContainersReady": ready}
    return [{"type": name, "status": str(state)} for name, state in states.items()]


def _running() -> dict[str, Any]:
    number = next(_NUMBERS)
    addresses = [f"10.128.0.{number % 250 + 1}", f"fd64:c10d:3::{number}"]
    ips = [{"ip": address} for address in addresses]
    return {"phase": "Running", "conditions": _conditions(True), "podIP": addresses[0], "podIPs": ips}


def _crashing(container: Mapping[str, Any]) -> dict[str, Any]:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    status = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": CRASHES,
        "state": {"waiting": waiting},
        "lastState": {"terminated": {"exitCode": 1, "message": "no such setting"}},
    }
    return {"phase": "Running", "conditions": _conditions(False), "containerStatuses": [status]}
