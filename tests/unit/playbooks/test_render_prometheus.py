"""Prometheus and its prober, rendered for a host: compared with files that an engineer can read.

After an intended change, write them again: run this file with GOVCLOUD_GOLDEN=write.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from estate.addressing import AddressPlan, plan
from estate.model import Estate
from playbooks.render import blackbox, pki, prometheus, scrape_configs
from tests import golden, image_programs
from tests.unit.playbooks.clusters import monitoring_hosts, secrets_of


def test_prometheus_matches_its_golden_files(estate: Estate, addresses: AddressPlan) -> None:
    """The targets, the intervals and the source of each scrape job, and the options of the two units."""
    host = estate.host("futian-ops1")
    golden.same(prometheus.config_text(estate, addresses, host), "prometheus/futian-ops1.prometheus.yml")
    golden.same(prometheus.defaults_text(addresses, host), "prometheus/futian-ops1.prometheus.default")
    golden.same(prometheus.drop_in(host), "prometheus/futian-ops1.prometheus.conf")
    golden.same(blackbox.config_text(estate, host), "prometheus/futian-ops1.blackbox.yml")
    golden.same(blackbox.defaults_text(addresses, host), "prometheus/futian-ops1.blackbox.default")


def test_the_objectives_match_their_golden_file(estate: Estate) -> None:
    """The numbers are in the estate; the rules compare with these series."""
    golden.same(
        prometheus.rule_texts(estate, estate.host("futian-ops1"))["objectives.yml"], "prometheus/objectives.yml"
    )


def test_every_monitoring_host_scrapes_every_site(estate: Estate, addresses: AddressPlan) -> None:
    """Two sites still see a site that the third cannot reach."""
    for host in monitoring_hosts(estate):
        scrapes = {s["job_name"]: s for s in scrape_configs.scrape_jobs(estate, addresses, host)}
        for job in ("site-approval", "approval", "ingress", "prometheus", "blackbox", "patroni", "etcd"):
            assert {static["labels"]["site"] for static in scrapes[job]["static_configs"]} == {
                site.name for site in estate.sites
            }, job


def test_both_families_and_all_health_paths_are_probed(estate: Estate, addresses: AddressPlan) -> None:
    """A service that answers in only one family is half down."""
    scrapes = {s["job_name"]: s for s in scrape_configs.scrape_jobs(estate, addresses, estate.host("nanshan-ops1"))}
    asked = {(s["labels"]["family"], s["labels"]["path"]) for s in scrapes["anycast-approval"]["static_configs"]}
    assert asked == {(family, path) for family in ("ipv4", "ipv6") for path in ("healthz", "readyz", "writez")}
    assert [s["targets"] for s in scrapes["anycast-approval"]["static_configs"]][-1] == [
        "https://[2001:db8:113::10]/writez"
    ]


def test_it_listens_on_the_segment_only(estate: Estate, addresses: AddressPlan) -> None:
    """Clients on the management network and peers cannot connect."""
    for host in monitoring_hosts(estate):
        own = str(addresses.lan(host.name).ipv4)
        assert f"--web.listen-address={own}:9090 " in prometheus.defaults_text(addresses, host)
        assert f"--web.listen-address={own}:9115 " in blackbox.defaults_text(addresses, host)


def test_each_monitoring_host_shows_each_cluster_a_certificate_that_only_its_prober_reads(
    estate: Estate, addresses: AddressPlan
) -> None:
    """Every cluster has its own authorities, so there is one certificate for each."""
    assert estate.clusters
    secrets = secrets_of(estate)
    for host in monitoring_hosts(estate):
        files = {file.path: file for file in blackbox.role_spec(estate, addresses, host, secrets).files}
        modules = yaml.safe_load(files[blackbox.CONFIG_FILE].text)["modules"]
        for cluster in estate.clusters:
            module = modules[blackbox.cluster_module(cluster.site)]["http"]["tls_config"]
            key = files[module["key_file"]]
            assert key.text == f"key of {cluster.site} watchers\n"
            assert (key.owner, key.mode, key.secret) == ("prometheus", "0400", True)
            assert files[module["ca_file"]].text == secrets.clusters[cluster.site].authority


def test_its_storage_limit_leaves_space_for_etcd(estate: Estate) -> None:
    """Both use one disk of fixed size."""
    for host in monitoring_hosts(estate):
        assert host.disk is not None
        text = prometheus.defaults_text(plan(estate), host)
        assert f"--storage.tsdb.path={host.disk.mount}/prometheus " in text
        kept = int(text.split("--storage.tsdb.retention.size=")[1].split("MB")[0])
        assert kept <= host.disk.size_mib / 4


def test_every_alert_has_its_runbook_and_both_languages(estate: Estate) -> None:
    """The renderer adds the link, so no rule can forget it."""
    for name, text in prometheus.rule_texts(estate, estate.host("futian-ops1")).items():
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    annotations = rule["annotations"]
                    assert annotations["runbook_url"] == f"docs/runbooks/{rule['alert']}.md", name
                    assert annotations["summary"]
                    assert annotations["summary_zh"]
                    assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_rules_are_written_before_the_configuration_that_names_them(estate: Estate, addresses: AddressPlan) -> None:
    """The configuration's own check reads the rules."""
    role = prometheus.role_spec(estate, addresses, estate.host("futian-ops1"))
    assert role.accounts[0].groups == (pki.GROUP,)
    order = [file.path for file in role.files]
    assert order.index("/etc/prometheus/rules/approval.yml") < order.index(prometheus.CONFIG_FILE)


def test_promtool_accepts_the_configuration(estate: Estate, addresses: AddressPlan, tmp_path: Path) -> None:
    """The program's own check, as before every installation."""
    host = estate.host("futian-ops1")
    config = tmp_path / "prometheus.yml"
    config.write_text(prometheus.config_text(estate, addresses, host), encoding="utf-8")
    image_programs.accepts("promtool", "check", "config", "--syntax-only", config)
    for name, text in prometheus.rule_texts(estate, host).items():
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        image_programs.accepts("promtool", "check", "rules", file)
