"""The upgrade of the sites' Kubernetes as a plan: `(Estate, Observation, target) -> Plan`, pure, one site at a time.

Between two sites is a gate: `monitors.health` finds no problem in the scope of upgrades (`status` reports all well,
and no rollout is unfinished), and every cluster runs the version that it must have by then. A bureau's own Deployment
that is not complete is named as a warning and delays no upgrade. A site where no service is active goes first, because
a failure there reaches no user.

No step has an undo: an upgrade must outlast the run that made it, and an interrupted one continues from the current
state of the estate. docs/upgrade-kubernetes.md describes when and how to roll back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from estate import versions
from estate.model import Estate
from failover import lock
from failover.journal import Journal
from failover.plans import Refusal
from failover.protocols import Clock, SystemClock
from failover.step import CheckFailed, Step, run_step
from monitors import health
from monitors.collectors import Observation
from monitors.collectors.kubernetes import Cluster
from monitors.problem import Scope
from workstation.errors import Refused, WrongUse

GATE_S = 180.0
"""From the end of `up` until all is well. The restart of a node was measured to take a tenth of it."""
FILE = "estate/data/kubernetes.yaml"
GO_ON = (
    "nothing is undone: see `./govcloud status`; finish a site that was begun with `./govcloud up SITE`, "
    "and when all is well the same command continues"
)


@dataclass(frozen=True, kw_only=True)
class SiteUpgrade:
    """One site from one version to the next."""

    site: str
    old: str
    new: str

    @property
    def step_texts(self) -> tuple[str, str, str]:
        """The steps as an operator would do them."""
        return (
            f"gate: all sites are well, {self.site} runs {self.old}",
            f"in {FILE} give {self.site} `version: {self.new}`, then `./govcloud up {self.site}`",
            f"gate: all sites are well, {self.site} runs {self.new}",
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The site upgrades in their order. A plan without site upgrades and refusals has nothing to do."""

    target: str
    site_upgrades: tuple[SiteUpgrade, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...] = ()
    """Problems of bureaus, which delay no upgrade."""

    @property
    def needed(self) -> bool:
        """There is something to do and no rule forbids it."""
        return bool(self.site_upgrades) and not self.refusals

    def require(self) -> None:
        """Raise Refused (exit 6) with every reason."""
        if self.refusals:
            reasons = "; ".join(f"{r.rule}: {r.reason}" for r in self.refusals)
            raise Refused(f"the upgrade to {self.target} is refused. {reasons}", self.refusals[0].remedy)

    def as_json(self) -> dict[str, object]:
        """Return the object for `--json`."""
        return {
            "target": self.target,
            "moves": [
                {"site": each.site, "from": each.old, "to": each.new, "steps": list(each.step_texts)}
                for each in self.site_upgrades
            ],
            "refusals": [{"rule": r.rule, "reason": r.reason, "way_out": r.remedy} for r in self.refusals],
            "warnings": list(self.warnings),
        }


def plan(estate: Estate, seen: Observation, target: str) -> Plan:
    """Decide. Raise WrongUse (exit 2) for a version that the project does not build."""
    if target not in versions.KUBERNETES:
        raise WrongUse(f"unknown version {target!r}", f"known versions: {', '.join(versions.KUBERNETES)}")
    declared = declared_versions(estate)
    refusals = tuple(_refusals(estate, seen, declared, target))
    outdated = () if refusals else tuple(site for site in order(estate) if declared[site] != target)
    site_upgrades = tuple(SiteUpgrade(site=site, old=declared[site], new=target) for site in outdated)
    return Plan(target=target, site_upgrades=site_upgrades, refusals=refusals, warnings=warnings(seen))


def order(estate: Estate) -> tuple[str, ...]:
    """Return the sites with a cluster: first the sites where no service is active, otherwise in declared order."""
    active = {site for service in estate.services for site in service.placement.active}
    return tuple(sorted((cluster.site for cluster in estate.clusters), key=lambda site: site in active))


def declared_versions(estate: Estate) -> dict[str, str]:
    """Return the declared version of each cluster, by site."""
    return {cluster.site: cluster.version for cluster in estate.clusters}


@dataclass(frozen=True, kw_only=True)
class UpgradeResult:
    """The sites that were upgraded, in order, each with the seconds from the gate before it to the gate after it."""

    target: str
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        """Return the object for `--json`."""
        return {"target": self.target, "changed": bool(self.seconds), "seconds": dict(self.seconds)}


def execute(
    made: Plan,
    estate: Estate,
    observe: Callable[[], Observation],
    deploy: Callable[[str, str], None],
    home: Path,
    *,
    on_event: Callable[[str], None] = lambda words: None,
    clock: Clock | None = None,
) -> UpgradeResult:
    """Upgrade one site after the other and stop at the first gate that fails. Arguments as for `steps`.

    Raise Refused (6), Locked (8) while another command moves the estate, CheckFailed (1) with the problems, and every
    error that `deploy` raises. The sites before it keep the new version.
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
    made: Plan, estate: Estate, observe: Callable[[], Observation], deploy: Callable[[str, str], None]
) -> tuple[Step, ...]:
    """Return one step for each site, for `run_step`. Raise Refused if the plan is refused.

    `estate` is the estate of the plan. `deploy` gives a site a version: it edits the estate and runs `up` for the site.
    """
    made.require()
    found, now = [], declared_versions(estate)
    for site_upgrade in made.site_upgrades:
        before, now = now, {**now, site_upgrade.site: site_upgrade.new}
        found.append(_step(site_upgrade, estate, observe, deploy, before, now))
    return tuple(found)


def health_gate(estate: Estate, seen: Observation, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Return what forbids the upgrade of the next site; empty if it may start. `wanted` are versions by site."""
    found = [str(problem) for problem in health.problems(estate, seen, Scope.UPGRADE)]
    for site, version in wanted.items():
        cluster = seen.cluster_at(site)
        if cluster is None or not cluster.answers:
            found.append(f"{site}: the version of its cluster is unknown")
        else:
            found += _versions(cluster, version)
    return tuple(found)


def warnings(seen: Observation) -> tuple[str, ...]:
    """Return the bureaus' own Deployments that are not complete, each with its site, for the operator to report to the
    bureau."""
    found = []
    for cluster in seen.clusters:
        if cluster.answers and cluster.incomplete_tenants is None:
            found.append(f"{cluster.site}: the bureaus' own Deployments could not be read")
        found += [f"{cluster.site}: {each}" for each in cluster.incomplete_tenants or ()]
    return tuple(found)


def _step(
    site_upgrade: SiteUpgrade,
    estate: Estate,
    observe: Callable[[], Observation],
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


def _refusals(estate: Estate, seen: Observation, declared: Mapping[str, str], target: str) -> Iterator[Refusal]:
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


def _versions(cluster: Cluster, version: str) -> Iterator[str]:
    if cluster.version != version:
        yield f"{cluster.site}: its API server runs {cluster.version or 'an unknown version'}, not {version}"
    for node in cluster.node_list:
        if node.version != version:
            yield f"{node.host}: its kubelet runs {node.version or 'an unknown version'}, not {version}"
