"""The one judgement of the running estate: what is wrong in an observation, worst first. Pure.

`status` reports the problems, and drills and upgrades refuse to start while there are any in their scope. Each problem
is reported once, at its cause. Each collector judges its own part.
"""

from __future__ import annotations

from estate.model import Estate
from monitors.collector import Context
from monitors.collectors import COLLECTORS, Observation
from monitors.problem import Problem, Scope


def problems(estate: Estate, observed: Observation, scope: Scope = Scope.STATUS) -> tuple[Problem, ...]:
    """Return all problems of the scope, worst first; empty when all is well."""
    context = Context(
        estate=estate,
        reached=frozenset(host.host for host in observed.hosts if host.reachable),
        unreachable=frozenset(host.host for host in observed.hosts if not host.reachable),
    )
    ranked = sorted(COLLECTORS, key=lambda collector: collector.rank)
    found = (problem for collector in ranked for problem in collector.judge(context, observed))
    chosen = (problem for problem in found if scope in problem.kind.scopes)
    return tuple(sorted(chosen, key=lambda problem: problem.severity))
