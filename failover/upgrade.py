"""The upgrade of the sites' Kubernetes as a plan: `(Estate, Observed, target) -> Plan`, pure, one site at a time.

Between two sites stands a gate: all sites are well, all nodes and the estate's own pods ready, the service answers
everywhere, and every cluster runs the version that it should have by then. What a bureau runs besides is named where it
is not well, and holds up nobody else. A site where no service is active goes first: what breaks there,
breaks for nobody.

No step carries an undo: an upgrade is meant to outlast the run that made it, and one that was interrupted goes on from
the estate as it is. docs/upgrade-kubernetes.md tells when and how to go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from estate import versions
from estate.model import Estate
from failover import health, lock
from failover.journal import Journal
from failover.plans import Refusal
from failover.protocols import Clock, ClusterView, Observed, SystemClock
from failover.step import CheckFailed, Step, run_step
from workstation.errors import Refused, WrongUse

GATE_S = 180.0
"""From the end of `up` until all is well; measured, a node's restart takes a tenth of it."""
FILE = "estate/data/kubernetes.yaml"
GO_ON = (
    "nothing is taken back: see `./govcloud status`; a site that was begun is finished with `./govcloud up SITE`, "
    "and when all is well the same command goes on"
)


@dataclass(frozen=True, kw_only=True)
class SiteUpgrade:
    """One site from one version to the next."""

    site: str
    old: str
    new: str

    @property
    def step_texts(self) -> tuple[str, str, str]:
        """What an operator does."""
        return (
            f"gate: all sites are well, {self.site} runs {self.old}",
            f"in {FILE} give {self.site} `version: {self.new}`, then `./govcloud up {self.site}`",
            f"gate: all sites are well, {self.site} runs {self.new}",
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done. Without site upgrades and refusals there is nothing to do."""

    target: str
    site_upgrades: tuple[SiteUpgrade, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...] = ()
    """What is not well and holds nothing up."""

    @property
    def needed(self) -> bool:
        """There is something to do and nothing forbids it."""
        return bool(self.site_upgrades) and not self.refusals

    def require(self) -> None:
        """Raises Refused (exit 6) with every reason."""
        if self.refusals:
            reasons = "; ".join(f"{r.rule}: {r.reason}" for r in self.refusals)
            raise Refused(f"the upgrade to {self.target} is refused. {reasons}", self.refusals[0].remedy)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "target": self.target,
            "moves": [
                {"site": each.site, "from": each.old, "to": each.new, "steps": list(each.step_texts)}
                for each in self.site_upgrades
            ],
            "refusals": [{"rule": r.rule, "reason": r.reason, "way_out": r.remedy} for r in self.refusals],
            "warnings": list(self.warnings),
        }


def plan(estate: Estate, seen: Observed, target: str) -> Plan:
    """Decides. Raises WrongUse (exit 2) for a version that nothing builds."""
    if target not in versions.KUBERNETES:
        raise WrongUse(f"unknown version {target!r}", f"known versions: {', '.join(versions.KUBERNETES)}")
    declared = declared_versions(estate)
    refusals = tuple(_refusals(estate, seen, declared, target))
    outdated = () if refusals else tuple(site for site in order(estate) if declared[site] != target)
    site_upgrades = tuple(SiteUpgrade(site=site, old=declared[site], new=target) for site in outdated)
    return Plan(target=target, site_upgrades=site_upgrades, refusals=refusals, warnings=warnings(seen))


def order(estate: Estate) -> tuple[str, ...]:
    """Sites with a cluster: first those where no service is active, otherwise as declared."""
    active = {site for service in estate.services for site in service.placement.active}
    return tuple(sorted((cluster.site for cluster in estate.clusters), key=lambda site: site in active))


def declared_versions(estate: Estate) -> dict[str, str]:
    """Of each cluster, by site."""
    return {cluster.site: cluster.version for cluster in estate.clusters}


@dataclass(frozen=True, kw_only=True)
class UpgradeResult:
    """What was done: for each site, in order, the seconds from the gate before it to the gate after it."""

    target: str
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"target": self.target, "changed": bool(self.seconds), "seconds": dict(self.seconds)}


def execute(
    made: Plan,
    estate: Estate,
    observe: Callable[[], Observed],
    deploy: Callable[[str, str], None],
    home: Path,
    *,
    on_event: Callable[[str], None] = lambda words: None,
    clock: Clock | None = None,
) -> UpgradeResult:
    """Every site in its turn; the first gate that does not hold is the end. Arguments as for `steps`.

    Raises Refused (6), Locked (8) while something else moves the estate, CheckFailed (1) with what is not well, and
    whatever `deploy` raises; sites before it keep the new version.
    """
    clock = clock or SystemClock()
    seconds: dict[str, float] = {}
    with lock.held(home, f"upgrade of Kubernetes to {made.target}"):
        journal = Journal(home / "moves")
        for site_upgrade, step in zip(made.site_upgrades, steps(made, estate, observe, deploy), strict=True):
            on_event(f"{step.name}: gate")
            start = clock.monotonic()
            try:
                run_step(step, journal, clock)
            except CheckFailed as error:
                raise CheckFailed(error.message, GO_ON) from error
            took = seconds[site_upgrade.site] = round(clock.monotonic() - start, 1)
            on_event(f"{site_upgrade.site} runs {site_upgrade.new} and all sites are well, after {took:g} s")
            for warning in warnings(observe()):
                on_event(f"not waited for: {warning}")
    return UpgradeResult(target=made.target, seconds=seconds)


def steps(
    made: Plan, estate: Estate, observe: Callable[[], Observed], deploy: Callable[[str, str], None]
) -> tuple[Step, ...]:
    """The plan for `run_step`, one after the other. `estate` is the one that was planned with; `deploy` gives a site a
    version: the edit of the estate, and `up` of that site. Raises Refused."""
    made.require()
    found, now = [], declared_versions(estate)
    for site_upgrade in made.site_upgrades:
        before, now = now, {**now, site_upgrade.site: site_upgrade.new}
        found.append(_step(site_upgrade, estate, observe, deploy, before, now))
    return tuple(found)


def health_gate(estate: Estate, seen: Observed, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """What is not well; empty when the next site may be touched. `wanted` are versions by site."""
    found = [str(problem) for problem in health.problems(estate, seen)]
    for site, version in wanted.items():
        view = seen.cluster(site)
        hosts = {host.name for host in estate.nodes_at(site)}
        found += _cluster(view, hosts, version) if view else [f"{site}: its cluster does not answer"]
    return tuple(found)


def warnings(seen: Observed) -> tuple[str, ...]:
    """The bureaus' own Deployments that are not complete, each with its site: their bureau is to be told."""
    return tuple(f"{view.site}: {other}" for view in seen.clusters for other in view.others)


def _step(
    site_upgrade: SiteUpgrade,
    estate: Estate,
    observe: Callable[[], Observed],
    deploy: Callable[[str, str], None],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> Step:
    return Step(
        name=f"{site_upgrade.site} from {site_upgrade.old} to {site_upgrade.new}",
        deadline_s=GATE_S,
        before=lambda: "; ".join(health_gate(estate, observe(), before)),
        act=lambda: deploy(site_upgrade.site, site_upgrade.new),
        after=lambda: "; ".join(health_gate(estate, observe(), after)),
    )


def _refusals(estate: Estate, seen: Observed, declared: Mapping[str, str], target: str) -> Iterator[Refusal]:
    for site, version in declared.items():
        if versions.ordered(version) > versions.ordered(target):
            yield Refusal(
                rule="never to an older version",
                reason=f"{site} is at {version}",
                remedy="going back is a decision of its own: see docs/upgrade-kubernetes.md",
            )
        elif versions.minor(target) - versions.minor(version) > 1:
            yield Refusal(
                rule="one minor at a time",
                reason=f"{site} is at {version}",
                remedy=f"upgrade to 1.{versions.minor(version) + 1} first",
            )
    if wrong := health_gate(estate, seen, declared):
        yield Refusal(
            rule="all sites must be well",
            reason="; ".join(wrong),
            remedy="see `./govcloud status`; repair it first, or finish what was begun with `./govcloud up`",
        )


def _cluster(view: ClusterView, hosts: set[str], version: str) -> Iterator[str]:
    if view.version != version:
        yield f"{view.site}: its API server runs {view.version}, not {version}"
    for name in sorted(hosts - {node.host for node in view.nodes}):
        yield f"{name}: is not a node of its cluster"
    for node in view.nodes:
        if not node.ready:
            yield f"{node.host}: is not ready"
        if node.version != version:
            yield f"{node.host}: its kubelet runs {node.version}, not {version}"
    for name in view.absent:
        yield f"{view.site}: the Deployment {name} is not there, `./govcloud up platform` makes it"
    if view.pods_ready < view.pods_wanted:
        yield f"{view.site}: {view.pods_ready} of {view.pods_wanted} pods are ready"
