"""`bench provider`: deploys many objects with the engine and our provider, and with `kubectl apply --server-side`.

Both run against one API server on loopback, with real etcd and without nodes. The objects are 1 000 ConfigMaps and 50
Deployments; no run waits for their pods. An unchanged `up` is timed in both of its modes, and each reads every object:

- `unchanged_read_s`: only a refresh, as `./govcloud up` does if nothing new is declared (docs/decisions/0020).
- `unchanged_program_s`: with the program and the engine's update, as `./govcloud up` does otherwise.

kubectl has only one mode. It is timed twice, once for each of ours.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from stacks.runs import refresh, workspace
from tools.envtest import ControlPlane
from workstation.errors import GovcloudError

OnEvent = Callable[[str], None]
CONFIG_MAPS, DEPLOYMENTS = 1000, 50
PEER = "kubectl apply --server-side"
STACK = "bench"


def provider(on_event: OnEvent) -> dict[str, Any]:
    """Carry out one run. Returns our figures, and the peer's figures under its name."""
    with tempfile.TemporaryDirectory(prefix="govcloud-bench-") as folder, _home(Path(folder) / "home"):
        with ControlPlane(Path(folder) / "cluster", controllers=False) as cluster:
            ours = _ours(cluster, on_event)
            return {
                "objects": CONFIG_MAPS + DEPLOYMENTS,
                **ours,
                "peers": {PEER: _kubectl(cluster, Path(folder), on_event)},
            }


def objects(namespace: str) -> Iterator[dict[str, Any]]:
    """Yield the objects that both sides declare."""
    for number in range(CONFIG_MAPS):
        name = f"settings-{number:04}"
        data = {"number": str(number), "text": f"content of {name} " * 4}
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": data,
        }
    for number in range(DEPLOYMENTS):
        name = f"web-{number:02}"
        limits = {"cpu": "500m", "memory": "128Mi"}
        container = {"name": "web", "image": "registry.invalid/web:1", "resources": {"limits": limits}}
        yield {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            },
        }


def _ours(cluster: ControlPlane, on_event: OnEvent) -> dict[str, float]:
    cluster.kubectl("create", "namespace", "ours")
    workspace.prepare()

    def program() -> None:
        given = k8s.Provider("cluster", kubeconfig=pulumi.Output.secret(cluster.kubeconfig()))
        opts = pulumi.ResourceOptions(provider=given)
        for item in objects("ours"):
            kind = k8s.core.v1.ConfigMap if item["kind"] == "ConfigMap" else k8s.apps.v1.Deployment
            fields = {key: value for key, value in item.items() if key in ("metadata", "data", "spec")}
            kind(item["metadata"]["name"], **fields, opts=opts)

    def run(operation: str, **options: Any) -> dict[str, int]:
        stack = workspace.open_stack(STACK, program)
        return _counted(lambda note: getattr(stack, operation)(on_event=note, **workspace.RUN_OPTIONS, **options))

    def read() -> dict[str, int]:
        return _counted(lambda note: refresh.refresh_with_engine(STACK, note))

    every = CONFIG_MAPS + DEPLOYMENTS + 2  # with the provider and the stack itself
    return {
        "preview_s": _timed("our preview", lambda: run("preview"), {"create": every}, on_event),
        "create_s": _timed("our creation", lambda: run("up"), {"create": every}, on_event),
        "unchanged_read_s": _timed("our unchanged run, refresh only", read, {"same": every}, on_event),
        "unchanged_program_s": _timed(
            "our unchanged run, with the program", lambda: run("up", refresh=True), {"same": every}, on_event
        ),
    }


def _counted(act: Callable[[Callable[[Any], None]], object]) -> dict[str, int]:
    """Run the engine once. Returns its number of operations by kind."""
    counted: dict[str, int] = {}

    def note(event: Any) -> None:
        if event.summary_event:
            changes = event.summary_event.resource_changes
            counted.update({str(getattr(op, "value", op)): number for op, number in changes.items()})

    act(note)
    return counted


def _kubectl(cluster: ControlPlane, folder: Path, on_event: OnEvent) -> dict[str, float]:
    cluster.kubectl("create", "namespace", "theirs")
    path = folder / "objects.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects("theirs"))}))

    def apply(*more: str) -> dict[str, int]:
        lines = cluster.kubectl("apply", "--server-side", *more, "-f", str(path)).splitlines()
        return {"applied": len(lines)}

    wanted = {"applied": CONFIG_MAPS + DEPLOYMENTS}
    return {
        "preview_s": _timed("kubectl's dry run", lambda: apply("--dry-run=server"), wanted, on_event),
        "create_s": _timed("kubectl's creation", apply, wanted, on_event),
        "unchanged_read_s": _timed("kubectl's unchanged run", apply, wanted, on_event),
        "unchanged_program_s": _timed("kubectl's unchanged run, again", apply, wanted, on_event),
    }


def _timed(what: str, act: Callable[[], dict[str, int]], wanted: dict[str, int], on_event: OnEvent) -> float:
    """Return the duration in seconds. Raises GovcloudError if the run did not do exactly `wanted`."""
    begun = time.monotonic()
    done = act()
    seconds = round(time.monotonic() - begun, 2)
    if done != wanted:
        raise GovcloudError(f"{what} did {done} instead of {wanted}", "the bench is wrong; nothing was recorded")
    on_event(f"  {what}: {seconds} s")
    return seconds


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Use a temporary home, so that the bench does not touch the state of an estate."""
    former = os.environ.get("GOVCLOUD_HOME")
    os.environ["GOVCLOUD_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("GOVCLOUD_HOME")
        if former is not None:
            os.environ["GOVCLOUD_HOME"] = former
