"""Every alert has a test and a runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests import image_programs
from workstation import paths

RULES = paths.repo() / "monitors" / "rules"
RUNBOOKS = paths.repo() / "docs" / "runbooks"
PARTS = ("## Meaning", "## Impact", "## Diagnosis", "## Mitigation")


def alerts() -> list[str]:
    """Return the names of all alerts, by file and order."""
    documents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(RULES.glob("*.yml"))]
    return [rule["alert"] for document in documents for group in document["groups"] for rule in group["rules"]]


def severities() -> dict[str, str]:
    """Return the severity of each alert."""
    documents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(RULES.glob("*.yml"))]
    rules = [rule for document in documents for group in document["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule["labels"]["severity"] for rule in rules}


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


def test_the_index_has_every_alert_once_with_its_severity_and_its_runbooks_chinese_summary() -> None:
    """The index is `docs/alerts.md`, and the README links to it."""
    index = (paths.repo() / "docs" / "alerts.md").read_text(encoding="utf-8")
    row = r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (\w+) \| [^|]+ \| ([^|]+) \|$"
    listed = re.findall(row, index, re.MULTILINE)
    assert all(name == page for name, page, _, _ in listed)
    assert sorted((name, severity) for name, _, severity, _ in listed) == sorted(severities().items())
    for name, _, _, summary in listed:
        assert f"\n> {summary}\n" in (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
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
        for file in sorted((RULES / "tests").glob("*.yml"))
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
    ]
    assert any(case["alertname"] == alert and case["exp_alerts"] for case in cases)


@pytest.mark.parametrize("tests", sorted((RULES / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_the_rules_fire_as_their_tests_expect(tests: Path) -> None:
    """Prometheus itself evaluates the rules on invented series."""
    image_programs.accepts("promtool", "test", "rules", tests.name, cwd=tests.parent)
