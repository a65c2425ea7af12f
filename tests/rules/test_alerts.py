"""Every alert has a test and a runbook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from contracts.loader import names
from estate.loader import load
from playbooks.render.prometheus import rule_source, rule_sources
from tests import image_programs
from tools import alert_index
from tools.alert_index import RUNBOOKS
from workstation import paths

SOURCES = rule_sources(names())
CASES = sorted({file for source in SOURCES for file in (source.parent / "tests").glob("*.yml")})
PARTS = ("## Meaning", "## Impact", "## Diagnosis", "## Mitigation")


def alerts() -> list[str]:
    """Return the names of all alerts, by file and order."""
    return [rule["alert"] for group in alert_index.rules().values() for rule in group]


def test_there_are_alerts_and_their_names_are_unique() -> None:
    """The name is also the name of the runbook."""
    assert len(alerts()) == len(set(alerts())) > 20


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_has_its_runbook(alert: str) -> None:
    """It has a summary in Chinese, then the four parts in order, each with a text."""
    text = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n\n> ")
    assert re.search(r"^> .*[一-鿿]{6}", text, re.MULTILINE)
    positions = [text.index(part) for part in PARTS]
    assert positions == sorted(positions)
    for part, following in zip(PARTS, [*PARTS[1:], ""], strict=True):
        body = text.split(part)[1].split(following)[0] if following else text.split(part)[1]
        assert len(body.strip()) > 40, part


def test_the_index_matches_the_rules_and_the_runbooks() -> None:
    """Run `make docs` after a change of either. The README links to the index."""
    index = alert_index.PAGE.read_text(encoding="utf-8")
    assert index == alert_index.page()
    rows = re.findall(
        r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (?:critical|warning) \| [^|]+ \| [^|]+ \|$", index, re.MULTILINE
    )
    assert sorted(rows) == sorted(alerts())
    assert not re.search(r"[{}]|\$", index)
    assert "](docs/alerts.md)" in (paths.repo() / "README.md").read_text(encoding="utf-8")


def test_every_runbook_has_its_alert() -> None:
    """No operator reads the runbook of an alert that cannot fire."""
    assert {file.stem for file in RUNBOOKS.glob("*.md")} == set(alerts())


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_links_between_runbooks_lead_to_files(runbook: Path) -> None:
    """At three in the morning an operator must not guess."""
    for target in re.findall(r"\]\(([^)]+)\)", runbook.read_text(encoding="utf-8")):
        assert (RUNBOOKS / target).is_file(), target


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_is_tested(alert: str) -> None:
    """At least one case has it fire."""
    cases = [
        case
        for file in CASES
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    assert any(case["alertname"] == alert and case["exp_alerts"] for case in cases)


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_the_rules_fire_as_their_tests_expect(cases: Path, tmp_path: Path) -> None:
    """Prometheus itself evaluates the rules on invented series. They contain the names of the estate's services."""
    estate = load()
    for source in SOURCES:
        (tmp_path / source.name).write_text(rule_source(estate, source), encoding="utf-8")
    (tmp_path / "tests").mkdir()
    copy = Path(shutil.copy(cases, tmp_path / "tests"))
    image_programs.accepts("promtool", "test", "rules", copy.name, cwd=copy.parent)


def test_no_placeholder_remains_in_a_rule() -> None:
    texts = [rule_source(load(), source) for source in SOURCES]
    assert not [text for text in texts if re.search(r"<\w+>", text)]
