"""Runs the benches. Each run appends its raw values to a file in the home directory; the summary is over all runs."""

from __future__ import annotations

import json
import os
import platform
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.output import into_namespace, load_estate, print_json
from operations.benchmarks.histogram import Buckets, bound, buckets
from operations.benchmarks.rollout import rollout
from workstation import paths
from workstation.progress import say

if TYPE_CHECKING:
    from estate.model import Estate
    from failover.protocols import Clock, Machines
    from failover.vantage import RemoteLoadGenerator


EXCLUDED_KEYS = ("conditions", "failures", "peers")
"""Keys of a raw value that are not figures of ours."""


def run(name: str, *, runs: int, rate: float, seconds: float, reads: bool, as_json: bool) -> None:
    """Run the bench `runs` times and print the summary of all runs so far."""
    measured = provider if name == "provider" else partial(on_estate, name, rate=rate, seconds=seconds, reads=reads)
    raw = paths.home() / "bench" / f"{name}.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, runs + 1):
        say(f"bench {name}: run {number} of {runs}")
        value = measured()
        with raw.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**value, "conditions": conditions()}) + "\n")
    result = document(name, [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()], raw)
    if as_json:
        print_json(result)
        return
    for figure, seen in result["ours"].items():
        print(f"{figure:24} min {seen['min']:g}  median {seen['median']:g}  max {seen['max']:g}")
    for failed in result["failures"]:
        print("failed at first: " + ", ".join(f"{key} {value}" for key, value in failed.items()))
    print(f"{result['conditions']['runs']} run(s); raw values: {raw}")


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


def on_estate(name: str, *, rate: float, seconds: float, reads: bool) -> dict[str, Any]:
    """Run one bench that needs the estate."""
    estate = load_estate()
    into_namespace(estate)
    if name == "unchanged":
        return unchanged(estate)
    if name == "rollout":
        return rollout(estate, rate, reads=reads)
    return approvals(estate, rate, seconds, reads=reads)


def provider() -> dict[str, Any]:
    """Deploy many objects with our Kubernetes provider and with kubectl."""
    from operations.benchmarks import provider

    return provider.provider()


def ratio(ours: dict[str, Any], peers: dict[str, Any]) -> float | None:
    """Return the sum of the best peer's median seconds divided by our sum, or None without a peer.

    A value above 1 means that we are faster.
    """
    timed = [figure for figure in ours if figure.endswith("_s")]
    if not peers:
        return None
    best = min(sum(peer[figure]["median"] for figure in timed) for peer in peers.values())
    return round(float(best / sum(ours[figure]["median"] for figure in timed)), 2)


def approvals(estate: Estate, rate: float, seconds: float, *, reads: bool) -> dict[str, Any]:
    """Send applications at a fixed rate from the citizens' vantage, without an injected fault."""
    from failover.vantage import LoadProfile
    from operations import adapters
    from operations.benchmarks import load_test

    machines, load = adapters.machines(estate), LoadProfile(rate_per_s=rate, reads=reads, limit_s=seconds)
    before = _decisions(estate, machines)

    def last(load_generator: RemoteLoadGenerator, clock: Clock) -> None:
        end = clock.monotonic() + seconds + load.drain_s
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
    from failover.vantage import measured_service
    from playbooks.render.kubernetes.cluster import control_plane_host
    from playbooks.render.kubernetes.rbac import ADMIN_CONFIG
    from stacks.components.pods import labels_of

    service, _ = measured_service(estate)
    contract = service.contract
    assert contract.synthetic, "the measured service has a synthetic client"
    selector = ",".join(f"{key}={value}" for key, value in labels_of(service.name).items())
    argv = ["sh", "-c", ASK_PODS, "sh", ADMIN_CONFIG, service.bureau, selector, f"{contract.port}{contract.metrics}"]
    hosts = [control_plane_host(estate, site) for site in service.placement.sites]
    texts = (machines.run(host.name, argv).stdout.decode() for host in hosts)
    return buckets(texts, contract.synthetic.duration)


def unchanged(estate: Estate) -> dict[str, float]:
    """Run `up` on an estate that is as declared. Every host is compared."""
    from operations.deploy import images
    from stacks.runs import engine

    done = engine.up(estate, images=images(estate, None))
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
