"""Generator of the index of alerts, `docs/alerts.md`, from the rules of the platform and the services.

Run `python -m tools.alert_index` after a change of either. A rule gives an alert's severity and meaning, its runbook
the Chinese summary.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from contracts.loader import names
from estate.loader import load
from playbooks.render.prometheus import rule_sources

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "alerts.md"
RUNBOOKS = REPOSITORY / "docs" / "runbooks"

INTRODUCTION = """\
# Alerts and their runbooks

Every alert that Prometheus on each `ops1` can raise, and its runbook. *critical*: users are affected, or acknowledged
data is in danger. *warning*: users are not affected yet, but one more failure would affect them. The rules are in
[`monitors/rules`](../monitors/rules/), and in `alerts/` of each folder in [`services`](../services/).
`./govcloud status` shows the current problems. No alert is sent to people yet.
`python -m tools.alert_index` writes this page from the rules and the runbooks; a test keeps it current.

告警与处置手册索引：critical 表示用户已受影响，或已受理的数据有危险；\
warning 表示用户尚无感知，但再失效一处就会受影响。"""

GROUPS = {
    "database": "The database · 数据库",
    "etcd": "Votes (etcd) · 仲裁票（etcd）",
    "network": "Network and ingress · 网络与入口",
    "disks": "Data disks · 数据盘",
    "clusters": "Kubernetes clusters · Kubernetes 集群",
    "watching": "The monitoring itself · 监控自身",
}
"""The platform's groups of rules in the order of the page. The services' groups come first: users notice them first."""


def rules() -> dict[str, list[dict[str, Any]]]:
    """Return the alerting rules by group, in the order of the files."""
    documents = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in rule_sources(names()))
    return {group["name"]: group["rules"] for document in documents for group in document["groups"]}


def page() -> str:
    """Return the index. Raise ValueError if a group has no title here, or a runbook no Chinese summary."""
    found = rules()
    titles = {service.name: f"{service.title.en} · {service.title.zh}" for service in load().services}
    groups = {name: titles.get(name, name) for name in (*titles, *names()) if name in found} | GROUPS
    if found.keys() != groups.keys():
        raise ValueError(f"the groups of rules and their titles differ in {sorted(found.keys() ^ groups.keys())}")
    return "\n\n".join([INTRODUCTION, *(_section(title, found[name]) for name, title in groups.items())]) + "\n"


def _section(title: str, alerts: list[dict[str, Any]]) -> str:
    head = [f"## {title}", "", "| alert | severity | meaning | 含义与处置要点 |", "|---|---|---|---|"]
    return "\n".join([*head, *map(_row, alerts)])


def _row(rule: dict[str, Any]) -> str:
    name = rule["alert"]
    meaning = re.sub(r"{{ \$(?:labels\.)?(\w+)[^}]*}}", r"*\1*", rule["annotations"]["summary"])
    return f"| [{name}](runbooks/{name}.md) | {rule['labels']['severity']} | {meaning} | {_summary(name)} |"


def _summary(alert: str) -> str:
    runbook = RUNBOOKS / f"{alert}.md"
    found = re.match(rf"# {alert}\n\n> (.+)\n\n", runbook.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{runbook}: begin with the alert's name as title, then its summary after '> '")
    return found[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
