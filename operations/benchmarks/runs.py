"""Runs the benches. Each run appends its raw values to a file in the home directory; the summary is over all runs.

All benches except `provider` run where the hosts are reachable.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from estate.model import Estate
from failover.measured_service import measured_service, synthetic_client
from failover.protocols import Clock, Machines
from failover.vantage import LoadProfile, RemoteLoadGenerator
from operations import adapters, deploy
from operations.benchmarks import load_test
from operations.benchmarks.histogram import Buckets, bound, buckets
from operations.benchmarks.provider import provider
from operations.benchmarks.rollout import rollout
from playbooks.render.kubernetes.cluster import control_plane_host
from playbooks.render.kubernetes.rbac import ADMIN_CONFIG
from stacks.components.pods import labels_of
from stacks.runs import engine

OnEvent = Callable[[str], None]
NAMES = ("approvals", "provider", "rollout", "unchanged")
EXCLUDED_KEYS = ("conditions", "failures", "peers")
"""Keys of a raw value that are not figures of ours."""


def run(
    name: str,
    estate: Estate,
    *,
    runs: int,
    load: LoadProfile,
    home: Path,
    on_event: OnEvent,
) -> dict[str, Any]:
    """Run the bench `runs` times and return the summary of all runs so far. `load` is for approvals and rollout."""
    raw = home / "bench" / f"{name}.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, runs + 1):
        on_event(f"bench {name}: run {number} of {runs}")
        value = _measure(name, estate, load, on_event)
        with raw.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**value, "conditions": conditions()}) + "\n")
    return document(name, [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()], raw)


def document(name: str, values: list[dict[str, Any]], raw: Path) -> dict[str, Any]:
    """Return the object of `--json` for all raw values; the newest run is the last. Pure."""
    ours = spread([{k: v for k, v in value.items() if k not in EXCLUDED_KEYS} for value in values])
    peers = {peer: spread([value["peers"][peer] for value in values]) for peer in values[-1].get("peers", {})}
    return {
        "bench": name,
        "ours": ours,
        "peers": peers,
        "ratio": ratio(ours, peers),
        "failures": values[-1].get("failures", []),
        "conditions": {**values[-1]["conditions"], "runs": len(values), "raw": str(raw)},
    }


def _measure(name: str, estate: Estate, load: LoadProfile, on_event: OnEvent) -> dict[str, Any]:
    """Carry out one run and return its figures."""
    if name == "provider":
        return provider(on_event)
    if name == "unchanged":
        return unchanged(estate, on_event)
    if name == "rollout":
        return rollout(estate, load.rate_per_s, reads=load.reads, on_event=on_event)
    return approvals(estate, load)


def ratio(ours: dict[str, Any], peers: dict[str, Any]) -> float | None:
    """Return the sum of the best peer's median seconds divided by our sum, or None without a peer.

    A value above 1 means that we are faster.
    """
    timed = [figure for figure in ours if figure.endswith("_s")]
    if not peers:
        return None
    best = min(sum(peer[figure]["median"] for figure in timed) for peer in peers.values())
    return round(float(best / sum(ours[figure]["median"] for figure in timed)), 2)


def approvals(estate: Estate, load: LoadProfile) -> dict[str, Any]:
    """Send applications at a fixed rate from the citizens' vantage, without an injected fault."""
    machines = adapters.machines(estate)
    before = _decisions(estate, machines)

    def last(load_generator: RemoteLoadGenerator, clock: Clock) -> None:
        end = clock.monotonic() + load.limit_s + load.drain_s
        while load_generator.running() and clock.monotonic() < end:
            clock.wait(1.0)

    seen = load_test.run_load_test(estate, load, last)
    decided = bound(before, _decisions(estate, machines), 0.99)
    return seen | ({"decision_p99_at_most_ms": decided * 1000} if decided is not None else {})


ASK_PODS = """
kubectl --kubeconfig="$1" get pods --namespace="$2" --selector="$3" --field-selector=status.phase=Running \
    --output='jsonpath={range .items[*]}http://{.status.podIP}:'"$4"'{"\\n"}{end}' | xargs curl -sS --max-time 5
"""
"""Fetches the metrics of all pods, one after the other. It runs on a node, which needs no ingress to reach them."""


def _decisions(estate: Estate, machines: Machines) -> Buckets:
    """Return the durations of all decisions so far, from the metrics of the service's pods."""
    service, _ = measured_service(estate)
    contract = service.contract
    selector = ",".join(f"{key}={value}" for key, value in labels_of(service.name).items())
    argv = ["sh", "-c", ASK_PODS, "sh", ADMIN_CONFIG, service.bureau, selector, f"{contract.port}{contract.metrics}"]
    hosts = [control_plane_host(estate, site) for site in service.placement.sites]
    texts = (machines.run(host.name, argv).stdout.decode() for host in hosts)
    return buckets(texts, synthetic_client(service).duration)


def unchanged(estate: Estate, on_event: OnEvent) -> dict[str, float]:
    """Run `up` on an estate that is as declared. Every host is compared."""
    done = engine.up(estate, images=deploy.images(estate, (), on_event))
    return {"seconds": round(done.seconds, 2), "changes": done.changes, "hosts": len(estate.managed_hosts)}


def spread(values: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return minimum, median and maximum of each figure of the newest run, over the runs that have the figure."""
    found = {}
    for key in values[-1]:
        ordered = sorted(value[key] for value in values if key in value)
        found[key] = {"min": ordered[0], "median": ordered[len(ordered) // 2], "max": ordered[-1]}
    return found


def conditions() -> dict[str, Any]:
    """Return the properties of this machine that the figures depend on."""
    memory = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    return {
        "cores": os.cpu_count(),
        "memory_mib": int(memory) // 1024,
        "kernel": platform.release(),
        "load_1min": os.getloadavg()[0],
    }
