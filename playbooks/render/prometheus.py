"""Prometheus of a site. Each instance monitors the whole estate, so that two sites still see what the third cannot.

The rules are the files of `monitors/rules` and of the services' folders. They compare with the estate's objectives,
which are rendered here as series, so each number exists only in the estate. Every alert gets the path of its runbook
here, and placeholders for the services are replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from contracts import loader
from estate.addressing import AddressPlan
from estate.model import Estate, Host
from facts.host_paths import data_folder
from playbooks.host_spec import Account, File, RoleSpec, Unit
from playbooks.render import pki, scrape_configs
from playbooks.render.text import header_comment

PORT = scrape_configs.PROMETHEUS_PORT
UNIT = "prometheus.service"
CONFIG_FILE = "/etc/prometheus/prometheus.yml"
DEFAULTS_FILE = "/etc/default/prometheus"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/govcloud.conf"
RULES = "/etc/prometheus/rules"
RULE_SOURCES = Path(__file__).resolve().parents[2] / "monitors" / "rules"
"""The platform's own rules. Those of a service are in `alerts` of its folder."""
RUNBOOKS = "docs/runbooks"

KEPT = "15d"
SHARE_OF_DISK = 0.25
"""The disk also stores etcd's log, which must always have enough space."""
SMALLEST_STORE_MIB = 64


def role_spec(estate: Estate, plan: AddressPlan, host: Host) -> RoleSpec:
    """Return Prometheus on `host`. It reads the host's key, and uses it as a client of etcd."""
    restart, reload = (f"restart:{UNIT}",), (f"reload:{UNIT}",)
    check = "promtool check rules %s"
    rules = tuple(
        File(path=f"{RULES}/{name}", text=text, validate=check, notify=reload)
        for name, text in rule_texts(estate, host).items()
    )
    return RoleSpec(
        role="prometheus",
        files=(
            *rules,
            File(
                path=CONFIG_FILE,
                text=config_text(estate, plan, host),
                validate="promtool check config %s",
                notify=reload,
            ),
            File(path=DEFAULTS_FILE, text=defaults_text(plan, host), notify=restart),
            File(path=DROP_IN, text=drop_in(host), notify=restart),
        ),
        units=(Unit(name=UNIT),),
        accounts=(Account(name="prometheus", groups=(pki.GROUP,), home="/var/lib/prometheus"),),
    )


def config_text(estate: Estate, plan: AddressPlan, host: Host) -> str:
    """Return prometheus.yml."""
    document = {
        "global": {
            "scrape_interval": "10s",
            "scrape_timeout": "4s",
            "evaluation_interval": "5s",
            "external_labels": {"estate": estate.name, "watcher": host.at},
        },
        "rule_files": [f"{RULES}/*.yml"],
        "scrape_configs": scrape_configs.scrape_jobs(estate, plan, host),
    }
    return header_comment("The watcher's configuration", host.name) + yaml.safe_dump(
        document, sort_keys=False, width=120
    )


def rule_texts(estate: Estate, host: Host) -> dict[str, str]:
    """Return every rule file by name: the objectives of the estate, and the rules with runbooks."""
    texts = {
        "objectives.yml": header_comment("Objectives as series", host.name) + _dump({"groups": [objectives(estate)]})
    }
    for source in rule_sources(tuple(service.name for service in estate.services)):
        document = with_runbooks(yaml.safe_load(rule_source(estate, source)))
        texts[source.name] = header_comment(f"Alert rules ({source.stem})", host.name) + _dump(document)
    return texts


def rule_sources(services: tuple[str, ...]) -> list[Path]:
    """Return the rule files of the platform and of these services, in the order of their names."""
    folders = (RULE_SOURCES, *(loader.folder(name) / "alerts" for name in services))
    return sorted((file for folder in folders for file in folder.glob("*.yml")), key=lambda file: file.name)


def rule_source(estate: Estate, source: Path) -> str:
    """Return the text of a rule file with the estate's services in place of the placeholders in regular expressions.

    `<services>` stands for their names, `<backends>` for the ingress' backends that show whether they have pods.
    """
    text = source.read_text(encoding="utf-8")
    backends = (service.contract.backends[0] for service in estate.services)
    names = {"<services>": "|".join(one.name for one in estate.services), "<backends>": "|".join(backends)}
    for placeholder, value in names.items():
        text = text.replace(placeholder, value)
    return text


def objectives(estate: Estate) -> dict[str, Any]:
    """Return the objectives of services, and the declared members, as constant series for rules to compare with."""
    rules = []
    for service in estate.services:
        goal = service.objectives
        for name, value in (
            ("rto_seconds", goal.rto_s),
            ("read_outage_seconds", goal.read_outage_s),
            ("availability", goal.availability),
            ("latency_p99_seconds", goal.latency_p99_ms / 1000),
        ):
            rules.append(_constant(f"govcloud_objective_{name}", value, service=service.name))
    rules.append(_constant("govcloud_etcd_votes", len(estate.etcd_members)))
    rules.append(_constant("govcloud_database_members", len(estate.database_members)))
    for member in estate.database_members:
        promotable = int(member.at in estate.database.promotable)
        rules.append(_constant("govcloud_database_promotable", promotable, host=member.name, site=member.at))
    return {"name": "objectives", "interval": "30s", "rules": rules}


def with_runbooks(document: dict[str, Any]) -> dict[str, Any]:
    """Return the rule file with `runbook_url` on each alert."""
    for group in document["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule.setdefault("annotations", {})["runbook_url"] = f"{RUNBOOKS}/{rule['alert']}.md"
    return document


def defaults_text(plan: AddressPlan, host: Host) -> str:
    """Return the options of the Debian unit. Prometheus listens only on the segment."""
    options = (
        f"--config.file={CONFIG_FILE}",
        f"--web.listen-address={plan.lan(host.name).ipv4}:{PORT}",
        f"--storage.tsdb.path={store(host)}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--storage.tsdb.retention.size={_store_mib(host)}MB",
        "--query.max-concurrency=4",
        "--log.level=warn",
    )
    return header_comment("Options of the watcher", host.name) + f'ARGS="{" ".join(options)}"\n'


def store(host: Host) -> str:
    """Return the folder of the series, on the host's own data disk if it has one."""
    return f"{data_folder(host)}/prometheus"


def drop_in(host: Host) -> str:
    """Return the unit's drop-in: the folder of the series, and restarts until the segment's address exists."""
    disk = f"RequiresMountsFor={host.disk.mount}\n" if host.disk else ""
    return header_comment("Additions to the watcher's unit", host.name) + (
        "[Unit]\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        f"{disk}"
        "StartLimitIntervalSec=0\n\n"
        "[Service]\n"
        f"ExecStartPre=+/usr/bin/install -d -o prometheus -g prometheus -m 0750 {store(host)}\n"
        "Restart=always\n"
        "RestartSec=2\n"
        "OOMScoreAdjust=500\n"
    )


def _constant(name: str, value: float, **labels: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"record": name, "expr": f"vector({value:g})"}
    return {**rule, "labels": labels} if labels else rule


def _store_mib(host: Host) -> int:
    return max(SMALLEST_STORE_MIB, int(host.disk.size_mib * SHARE_OF_DISK)) if host.disk else 1024


def _dump(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
