"""The rules of an estate, one function each. `check` runs all rules and returns all problems together.

A rule is a pure function of the estate that yields problems. It skips mistakes that another rule reports, for example
an unknown host, so that each mistake is reported once. Add a new rule next to similar rules, and to `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from estate.checks import capacity, gateways, names, paths, prefixes, quorum, references
from estate.lenient import is_unset
from estate.model import Estate
from estate.problems import Problem, Problems, Source

Rule = Callable[[Estate], Problems]

IDENTITIES: tuple[Rule, ...] = (
    names.unique_names,
    names.unique_places,
    names.unique_numbers,
    names.unique_asns,
    names.usable_asns,
    names.free_interface_names,
    names.free_namespaces,
    references.known_places,
    references.roles_fit_places,
    references.router_at_every_place,
    references.owners,
    references.shipped,
    references.carriers,
    references.link_ends,
    references.vantages,
    references.seen_services,
    references.placements,
    references.pods_by_site,
    references.management_addresses,
    references.clusters,
    references.cluster_versions,
    references.needed_disks,
    gateways.unique_gateway_numbers,
)
RULES: tuple[Rule, ...] = (
    *IDENTITIES,
    paths.no_path_separates_cities,
    paths.no_path_splits_the_sites,
    paths.uplinks_at_every_site,
    paths.uplinks_on_different_paths,
    prefixes.usable_prefixes,
    prefixes.separate_prefixes,
    prefixes.announceable_services,
    quorum.odd_votes,
    quorum.no_site_with_a_majority,
    quorum.votes_at_own_sites,
    quorum.database_sites,
    quorum.acknowledging_sets_span_sites,
    quorum.second_copy_survives_a_site,
    quorum.promotable_in_one_city,
    quorum.timers,
    capacity.each_site_carries_the_load_alone,
    capacity.active_in_two_sites,
    capacity.node_disks_are_large_enough,
    capacity.two_pods_where_active,
    capacity.quotas_cover_services,
    capacity.quotas_fit_every_site,
    capacity.quotas_hold_pods,
    gateways.unique_hosts,
    gateways.reachable_backends,
    gateways.gateways_on_clusters,
)
COMPUTED: tuple[Rule, ...] = (
    prefixes.large_enough,
    prefixes.unique_addresses,
    prefixes.management_of_its_own,
)
"""Rules about the computed address plan. They need known references, so they wait until all `IDENTITIES` pass."""

ADVICE: tuple[Rule, ...] = (names.advice, prefixes.advice)


def check(estate: Estate, source: Source) -> tuple[list[Problem], int]:
    """Return all problems in the order of the rules, and the number of rules that wait for another correction.

    The estate may be deployed if there are no problems and no waiting rules. For a partly valid estate
    (`estate.lenient`), return the problems of its valid part.
    """
    found, waiting = _problems(RULES, estate, source)
    broken, unread = _problems(IDENTITIES, estate, source)
    if broken or unread:
        return found, waiting + len(COMPUTED)
    computed, unread = _problems(COMPUTED, estate, source)
    return found + computed, waiting + unread


def advise(estate: Estate, source: Source) -> list[Problem]:
    """Return values that are allowed but probably not intended, such as an example AS number in a real estate."""
    return _problems(ADVICE, estate, source)[0]


def _problems(rules: Iterable[Rule], estate: Estate, source: Source) -> tuple[list[Problem], int]:
    found, waiting = [], 0
    for rule in rules:
        try:
            for problem in rule(estate):
                found.append(replace(problem, file=source.file_of(problem.key)))
        except AttributeError as error:
            if not is_unset(error):
                raise
            waiting += 1
    return found, waiting
