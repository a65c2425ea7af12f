"""Every collector is complete: registered, queries, parser, judgement, place on the screen, line in the documents."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from types import ModuleType

import pytest

from estate.addressing import plan
from estate.loader import load
from monitors import collectors
from monitors.collector import Collector, Context
from monitors.collectors import COLLECTORS, Observation
from monitors.observe.queries import observation_of
from monitors.problem import Kind
from monitors.query import Replies, Reply, Target, queried_hosts
from workstation import paths

ESTATE = load()
PLAN = plan(ESTATE)
SILENT = tuple((host, Reply(host=host.name, reachable=True)) for host in queried_hosts(ESTATE))
MODULES = [
    importlib.import_module(f"{collectors.__name__}.{module.name}")
    for module in pkgutil.iter_modules(collectors.__path__)
]
each = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])


def kinds(module: ModuleType) -> list[str]:
    """Return the codes of the problems that a collector defines."""
    return [value.code for value in vars(module).values() if isinstance(value, Kind)]


def queries(collector: Collector[Observation]) -> set[str]:
    """Return the names of a collector's queries to any host."""
    return {
        name
        for host, _ in SILENT
        for name in collector.queries(Target(estate=ESTATE, plan=PLAN, host=host, tenants=True))
    }


def test_every_module_is_in_the_registry() -> None:
    """A collector outside the registry would never be asked."""
    assert {id(module.COLLECTOR) for module in MODULES} == {id(collector) for collector in COLLECTORS}
    assert len(COLLECTORS) == len(MODULES)


def test_collectors_share_no_query_no_code_and_no_rank() -> None:
    """The second one would replace the first one's answer, and problems would have no fixed order."""
    names = [name for collector in COLLECTORS for name in queries(collector)]
    codes = [code for module in MODULES for code in kinds(module)]
    ranks = [collector.rank for collector in COLLECTORS]
    for found in (names, codes, ranks):
        assert len(found) == len(set(found)), found


@each
def test_a_collector_asks_at_least_one_host(module: ModuleType) -> None:
    """Each query is of a kind that the agent can run."""
    assert queries(module.COLLECTOR)
    for host, _ in SILENT:
        for query in module.COLLECTOR.queries(Target(estate=ESTATE, plan=PLAN, host=host)).values():
            assert query["kind"] in ("command", "https", "text")


@each
def test_a_collectors_part_belongs_to_the_observation(module: ModuleType) -> None:
    """The parser returns it also if a host has answered no query."""
    part = module.COLLECTOR.parse(Replies(estate=ESTATE, plan=PLAN, pairs=SILENT))
    assert issubclass(Observation, type(part))
    assert type(part).__dataclass_params__.frozen
    fields = {field.name for field in dataclasses.fields(part)}
    assert fields
    assert fields <= {field.name for field in dataclasses.fields(Observation)}


@each
def test_a_collector_judges_with_its_own_kinds_of_problems(module: ModuleType) -> None:
    """No daemon answers here. `tests/unit/monitors/test_health.py` has a case for each kind."""
    replies = {host.name: reply for host, reply in SILENT}
    observed = observation_of(ESTATE, PLAN, replies, at=0.0, took_s=0.0)
    context = Context(estate=ESTATE, reached=frozenset(replies), unreachable=frozenset())
    assert kinds(module)
    assert {problem.code for problem in module.COLLECTOR.judge(context, observed)} <= set(kinds(module))


@each
def test_a_collector_has_its_place_on_the_screen_in_both_languages(module: ModuleType) -> None:
    """A column of the table of sites, or a block of its own."""
    collector = module.COLLECTOR
    shown = [*collector.columns, *([collector.block] if collector.block else [])]
    assert shown
    assert all(part.zh and part.en for part in shown)


@each
def test_a_collector_has_its_line_in_the_documents_with_its_codes(module: ModuleType) -> None:
    """The table is in `docs/architecture.md`."""
    text = (paths.repo() / "docs" / "architecture.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{module.__name__.split('.')[-1]}\.py` \|[^|]+\|([^|]+)\|$", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == kinds(module)
