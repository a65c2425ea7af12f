"""A second contract passes through the whole platform: no renderer and no program knows a service by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime.rpc import is_rpc_secret

from estate.addressing import plan
from estate.loader import load
from estate.model import Estate, Placement
from failover.measured_service import client_files, measured_service
from monitors.collectors.service import COLLECTOR
from monitors.query import Target
from playbooks import role_assignment
from playbooks.render import ingress, nftables, pki, postgresql, prometheus, services
from playbooks.render.pki import AUTHORITY_FILE, BUNDLE_FILE
from playbooks.secrets import password_names
from stacks.components.resources import HEALTH_GATE, KUBERNETES, LAST_SITE_GUARD
from stacks.programs import workloads
from stacks.programs.context import Context, last_site_guards
from tests import image_programs, second_service
from tests.second_service import LETTERS
from tests.unit.playbooks.clusters import files_of, roles_of, secrets_of, switched_on
from tests.unit.stacks.declared import declare
from workstation.errors import WrongUse
from workstation.oci import OciImage

KUBE, DATA, OPS = "futian-kube1", "futian-data1", "futian-ops1"
UNPRIVILEGED = "nobody"
"""Account that exists on the machine of the tests."""
SITES = ("futian", "nanshan", "shaoguan")
TEA = LETTERS.replace("letters", "tea").replace("LETTERS", "TEA").replace("8081", "8082") + (
    "public:\n"
    "  at_once: 4\n"
    "  repeatable: false\n"
    "  routes: [{backend: brews, methods: [POST, PUT], at_once: 2}]\n"
    "  down: {zh: 暂停服务。, en: Closed. Come back later.}\n"
)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """Return the estate with `letters`, which citizens do not reach."""
    second_service.install(tmp_path, monkeypatch)
    return second_service.declared(switched_on(load()))


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """Return the estate with `tea`, which citizens reach, and which has other health paths and methods."""
    text = TEA.replace("live: /livez", "live: /livez, ready: /openz")
    second_service.install(tmp_path, monkeypatch, text, "tea")
    return second_service.declared(switched_on(load()), name="tea")


def haproxy_accepts(text: str, path: Path) -> None:
    """Let HAProxy itself check the configuration, without certificates and accounts."""
    for old, new in (
        (f" ssl crt {BUNDLE_FILE} alpn h2,http/1.1", ""),
        (f"ca-file {AUTHORITY_FILE}", "ca-file /etc/ssl/certs/ca-certificates.crt"),
        ("user haproxy", f"user {UNPRIVILEGED}"),
        ("group haproxy", "group nogroup"),
    ):
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    image_programs.accepts("haproxy", "-c", "-f", path)


def test_citizens_do_not_reach_it_and_the_monitors_do(both: Estate, tmp_path: Path) -> None:
    """It has no anycast address, no name in a certificate, no announcement and no probe."""
    computed = plan(both)
    host = both.host(KUBE)
    assert list(computed.anycast) == ["approval"]
    assert not any("letters" in name for leaf in pki.leaves(both, computed) for name in leaf.sans)
    config = ingress.config_text(both, computed, host)
    frontend = config.split("frontend citizens")[1].split("\n\n")[0].split("backend approval")[0]
    assert "letters" not in frontend
    pods = computed.service_cluster_ip("futian", "letters").ipv4
    backend = config.split("backend letters-probes\n")[1].split("\n\n")[0]
    assert f"server pods {pods}:8090 check " in backend
    assert "option httpchk GET /livez\n" in backend
    assert "    use_backend letters-probes if { dst_port 8081 }\n" in config
    assert "unless { path /metrics /healthz /readyz /writez /livez /sendz }" in config
    assert "tcp dport { 8080, 8081, 8405 } accept" in nftables.server(both, computed, host)
    haproxy_accepts(config, tmp_path / "haproxy.cfg")


def test_prometheus_reads_it_through_each_sites_ingress(both: Estate) -> None:
    computed = plan(both)
    document = yaml.safe_load(prometheus.config_text(both, computed, both.host(OPS)))
    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    assert {name for name in jobs if "letters" in name} == {"letters"}
    targets = [target for group in jobs["letters"]["static_configs"] for target in group["targets"]]
    assert targets == [f"{computed.lan(f'{site}-kube1').ipv4}:8081" for site in SITES]


def test_its_login_uses_the_first_services_database(both: Estate) -> None:
    secrets = secrets_of(both)
    assert password_names(both) == (
        "replication", "approval_owner", "approval_app", "letters_app", "letters_carrier",
    )  # fmt: skip
    role = postgresql.role_spec(both, plan(both), both.host(DATA), secrets)
    files = {Path(file.path).name: file.text for file in role.files}
    assert "CREATE ROLE letters_app" in files["database.sql"]
    assert "GRANT CONNECT ON DATABASE approval TO approval_app, letters_app;" in files["database.sql"]
    assert files["database.sql"].count("CREATE DATABASE") == 1
    assert "hostssl approval approval_owner,approval_app,letters_app 10.64.1.11/32" in files["patroni.yml"]


def test_a_database_of_its_own_is_prepared_by_one_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = LETTERS.replace("name: approval, login: letters_app", "name: post, owner: post_owner, login: letters_app")
    setup = "setup: {dsn_variable: POST_DSN, commands: [{run: [letters.schema, '{seed}']}]}\n"
    second_service.install(tmp_path, monkeypatch, own + setup)
    estate = second_service.declared(switched_on(load()))
    role = postgresql.role_spec(estate, plan(estate), estate.host(DATA), secrets_of(estate))
    sql = next(file.text for file in role.files if file.path.endswith("database.sql"))
    assert "CREATE DATABASE post OWNER post_owner" in sql
    assert "GRANT CONNECT ON DATABASE post TO letters_app;" in sql
    assert sql.endswith("\\connect post\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n")
    commands = roles_of(estate, KUBE)["service_setup"].settings["commands"]
    assert [(one["service"], one["run"]) for one in commands][2:] == [
        ("letters", ["letters.schema", str(estate.registers.seed)])
    ]
    assert files_of(estate, KUBE)["/etc/govcloud/letters/owner.env"].text.startswith('POST_DSN="host=primary')
    assert roles_of(estate, "nanshan-kube1")["service_setup"].settings["commands"] == []


def test_its_pods_have_their_settings_and_secrets(both: Estate) -> None:
    letters = both.service("letters")
    environment = services.pod_environment(both, letters, "futian")
    assert environment["GOVCLOUD_SITE"] == "futian"
    assert environment["LETTERS_PORT"] == "8090"
    assert environment["LETTERS_CONNECTIONS"] == "2"
    assert "dbname=approval user=letters_app" in environment["LETTERS_DSN"]
    assert services.pod_fields(letters.contract) == {"NODE_IP": "status.hostIP"}
    names = services.pod_secret_names(letters.contract)
    assert names == {"PGPASSWORD": "letters_app", "LETTERS_TOKEN": "letters_carrier"}


def test_every_site_deploys_it_with_a_gate_and_without_a_guard(both: Estate) -> None:
    """A guard protects citizens, who do not reach this service."""
    images = {
        service.name: OciImage(name=service.name, folder=Path("/nowhere"), digest="sha256:" + "1" * 64)
        for service in both.services
    }
    context = Context(
        estate=both, plan=plan(both), instance="lab-1", images=images, clusters=frozenset(SITES), built=frozenset(SITES)
    )
    recorded = declare(lambda: workloads.declare(context, pulumi.Output.secret(secrets_of(both))), "platform")

    def named(kind: str, name: str) -> list[Any]:
        return [
            one
            for urn, one in recorded.by_urn.items()
            if one.type.startswith(kind) and urn.rsplit("::", 1)[-1].startswith(name)
        ]

    deployments = named(f"{KUBERNETES}apps/v1:Deployment", "letters-")
    assert len(deployments) == len(SITES)
    gates = named(HEALTH_GATE, "letters-gate")
    assert [list(one.object["urls"]) for one in gates].count(["http://10.64.1.11:8081/sendz"]) == 1
    assert len(gates) == len(SITES)
    assert named(LAST_SITE_GUARD, "letters") == []
    assert len(named(LAST_SITE_GUARD, "approval-permit")) == 2
    secret = recorded.inputs("letters-secrets")["stringData"]
    assert is_rpc_secret(secret)
    assert secret["value"]["LETTERS_TOKEN"] == "password of letters_carrier"
    assert secret["value"]["PGPASSWORD"] == "password of letters_app"


def test_a_host_changes_only_if_another_site_answers_for_every_public_service(public: Estate) -> None:
    """A service is probed at its own active sites. The remote site serves no citizens."""
    (first, second), context = public.services, Context(estate=public, plan=plan(public), instance="lab-1")
    assert probed(context, "futian") == {"approval": ["futian", "nanshan"], "tea": ["futian", "nanshan"]}
    assert probed(context, "shaoguan") == {}
    urls = [guard["argv"][-1] for guard in last_site_guards(context, "futian")]
    assert urls == ["https://approval.govcloud/readyz", "https://tea.govcloud/openz"]
    alone = second.model_copy(update={"placement": Placement(active=("nanshan",), ready=())})
    context = replace(context, estate=public.model_copy(update={"services": (alone, first)}))
    assert probed(context, "futian") == {"approval": ["futian", "nanshan"]}
    assert probed(context, "nanshan") == {"tea": ["nanshan"], "approval": ["futian", "nanshan"]}


def probed(context: Context, site: str) -> dict[str, list[str]]:
    """Return the sites that are probed before a host of the site is changed, by service."""
    return {guard["service"]: list(guard["at"]) for guard in last_site_guards(context, site)}


def test_every_role_of_every_host_is_rendered(both: Estate) -> None:
    secrets = secrets_of(both)
    for host in both.managed_hosts:
        for stack in role_assignment.Stack:
            if host in role_assignment.hosts_of(both, stack):
                assert role_assignment.host_spec(both, host.name, stack, secrets)["roles"] or stack == "province"


def test_citizens_reach_a_second_public_service_by_its_name(public: Estate, tmp_path: Path) -> None:
    """Its own limits, methods and error answer hold. Requests without its name are for the first service."""
    computed, host = plan(public), public.host(KUBE)
    config = ingress.config_text(public, computed, host)
    frontend = config.split("frontend citizens")[1].split("\nbackend ")[0]
    condition = "{ req.hdr(host),field(1,:) -i tea tea.govcloud }"
    assert f"    use_backend tea-probes if {condition} {{ path /livez /openz /sendz }}\n" in frontend
    assert f"    use_backend brews if {condition} {{ method POST PUT }}\n" in frontend
    assert f"    use_backend tea if {condition}\n" in frontend
    assert frontend.index("use_backend tea if") < frontend.index("use_backend applications if")
    assert frontend.endswith("    default_backend approval\n")
    assert f"bind {computed.anycast['tea'].ipv4}:443 ssl" in frontend
    own = config.split("backend tea\n")[1].split("backend tea-probes")[0]
    assert "retry-on" not in own
    assert own.count("Closed. Come back later.") == 6
    assert "maxconn 4 check" in own
    assert "maxconn 2 track tea/pods" in own
    haproxy_accepts(config, tmp_path / "haproxy.cfg")
    assert "tea.govcloud" in pki.leaves(public, computed)[host_index(public)].sans
    jobs = yaml.safe_load(prometheus.config_text(public, computed, public.host(OPS)))["scrape_configs"]
    assert {"anycast-tea", "site-tea", "tea"} < {job["job_name"] for job in jobs}


def host_index(estate: Estate) -> int:
    """Return the position of the kube host among the certificates of hosts."""
    leaves = pki.leaves(estate, plan(estate))
    return next(index for index, leaf in enumerate(leaves) if leaf.name == KUBE)


def test_alerts_about_all_services_cover_it_and_its_own_alerts_are_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = second_service.install(tmp_path, monkeypatch) / "alerts"
    own.mkdir()
    rule = {"alert": "LettersLate", "expr": "letters_age_seconds > 60", "labels": {"severity": "warning"}}
    (own / "letters.yml").write_text(yaml.safe_dump({"groups": [{"name": "letters", "rules": [rule]}]}), "utf-8")
    estate = second_service.declared(switched_on(load()))
    texts = prometheus.rule_texts(estate, estate.host(OPS))
    assert "runbook_url: docs/runbooks/LettersLate.md" in texts["letters.yml"]
    assert 'up{job=~"ingress|approval|letters|disks"} == 0' in texts["watching.yml"]
    assert 'proxy=~"approval|letters-probes"' in texts["network.yml"]
    assert "letters.yml" not in prometheus.rule_texts(load(), load().host(OPS))


def asked(estate: Estate, host: str) -> dict[str, Any]:
    """Return the queries for health paths to one host."""
    return COLLECTOR.queries(Target(estate=estate, plan=plan(estate), host=estate.host(host)))


def test_status_asks_a_public_service_at_its_own_paths(public: Estate) -> None:
    """The names of the checks stay the same for all services, so that `status` has one column for each."""
    found = {name: query["path"] for name, query in asked(public, KUBE).items() if " tea " in name}
    assert found == {"health tea 4 healthz": "/livez", "health tea 4 readyz": "/openz", "health tea 4 writez": "/sendz"}


def test_status_asks_no_service_that_citizens_do_not_reach(both: Estate) -> None:
    """The cluster's Deployments show its pods."""
    for host in (KUBE, "citizen1"):
        assert {name.split()[1] for name in asked(both, host)} == {"approval"}


def test_drills_measure_the_first_service_with_a_synthetic_client(public: Estate) -> None:
    """A vantage may reach other services too. Without a client nothing can be measured."""
    vantages = tuple(one.model_copy(update={"reaches": ("tea", "approval")}) for one in public.vantages)
    service, host = measured_service(public.model_copy(update={"vantages": vantages}))
    assert (service.name, host) == ("approval", "citizen1")
    only = tuple(one.model_copy(update={"reaches": ("tea",)}) for one in public.vantages)
    with pytest.raises(WrongUse, match="no vantage reaches a service with a synthetic client"):
        measured_service(public.model_copy(update={"vantages": only}))
    with pytest.raises(ValueError, match="tea has no synthetic client"):
        client_files(public.service("tea"))
