"""The data tier as rendered: golden files, and rules that must be true for any estate.

After an intended change, write them again: GOVCLOUD_GOLDEN=write pytest tests/unit/playbooks/test_render_data.py
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
import yaml

from estate.addressing import plan
from estate.model import Estate, Host
from playbooks.host_spec import File, RoleSpec
from playbooks.render import database, etcd, pki, postgresql
from playbooks.secrets import OPERATOR, Certificate, Secrets
from tests import golden

PASSWORDS = {
    "replication": "replication-password",
    "approval_owner": "owner-password",
    "approval_app": "app-password",
}


def secrets_of(estate: Estate) -> Secrets:
    """Return fake certificates whose texts are the names of their hosts."""
    certificates = {
        host.name: Certificate(cert=f"cert of {host.name}\n", key=f"key of {host.name}\n") for host in estate.hosts
    }
    return Secrets(authority="authority\n", certificates=certificates, passwords=PASSWORDS)


def roles_of(estate: Estate, host: Host) -> list[RoleSpec]:
    """Return the stack's roles on one host."""
    addresses, secrets = plan(estate), secrets_of(estate)
    roles = [pki.role_spec(host, secrets)]
    roles += [etcd.role_spec(estate, addresses, host)] if host.etcd_votes else []
    roles += [postgresql.role_spec(estate, addresses, host, secrets)] if host.database else []
    return roles


def files_of(estate: Estate, name: str) -> dict[str, File]:
    """Return all files of a host by path."""
    return {file.path: file for role in roles_of(estate, estate.host(name)) for file in role.files}


def patroni_of(estate: Estate, name: str) -> dict[str, object]:
    """Return a member's parsed patroni.yml."""
    return dict(yaml.safe_load(files_of(estate, name)["/etc/govcloud/postgresql/patroni.yml"].text))


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("futian-data1", "/etc/govcloud/postgresql/patroni.yml"),
        ("shaoguan-data1", "/etc/govcloud/postgresql/patroni.yml"),
        ("shaoguan-data1", "/etc/govcloud/postgresql/guard.json"),
        ("futian-data1", "/etc/govcloud/postgresql/database.json"),
        ("futian-data1", "/etc/govcloud/postgresql/database.sql"),
        ("futian-data1", "/etc/govcloud/postgresql/patronictl.yml"),
        ("futian-data1", "/etc/systemd/system/patroni.service"),
        ("futian-ops1", "/etc/govcloud/etcd/etcd.env"),
        ("shaoguan-data1", "/etc/govcloud/etcd/etcd.env"),
        ("shaoguan-data1", "/etc/govcloud/etcd/ctl.env"),
        ("shaoguan-data1", "/etc/systemd/system/etcd.service"),
        ("shaoguan-data1", "/etc/systemd/system/govcloud-etcd-prefer.service"),
        ("shaoguan-data1", "/etc/systemd/system/govcloud-etcd-prefer.timer"),
    ],
)
def test_managed_host_matches_its_golden_file(estate: Estate, host: str, path: str) -> None:
    golden.same(files_of(estate, host)[path].text, f"data/{host}/{Path(path).name}")


def test_every_managed_host_and_the_operator_get_a_certificate_with_their_names(estate: Estate) -> None:
    leaves = {leaf.name: leaf for leaf in pki.leaves(estate, plan(estate))}
    assert set(leaves) == {host.name for host in estate.managed_hosts} | {OPERATOR}
    assert {"primary.postgresql.govcloud", "10.64.1.21", "fd64:c10d:0:1::21"} <= set(leaves["futian-data1"].sans)
    assert {"approval.govcloud", "203.0.113.10", "2001:db8:113::10"} <= set(leaves["nanshan-kube1"].sans)
    assert leaves[OPERATOR].usages == ("client",)


def test_only_etcd_voters_have_the_name_that_admits_peers(estate: Estate) -> None:
    holders = {leaf.name for leaf in pki.leaves(estate, plan(estate)) if pki.ETCD_NAME in leaf.sans}
    assert holders == {host.name for host in estate.etcd_members}


def test_keys_and_passwords_are_only_in_secret_files(estate: Estate) -> None:
    words = [*PASSWORDS.values(), "key of"]
    for host in estate.database_members:
        for path, file in files_of(estate, host.name).items():
            if any(word in file.text for word in words):
                assert file.secret, path
                assert int(file.mode, 8) & 0o007 == 0, path


def test_only_promotable_members_create_a_cluster_and_the_others_have_the_guard(estate: Estate) -> None:
    for host in estate.database_members:
        document = patroni_of(estate, host.name)
        promotable = host.at in estate.database.promotable
        assert ("bootstrap" in document) is promotable
        assert ("pre_promote" in document["postgresql"]) is not promotable  # type: ignore[operator]
        guard = "/etc/govcloud/postgresql/guard.json" in files_of(estate, host.name)
        assert guard is not promotable


def test_promotable_members_have_priority_over_those_that_only_acknowledge(estate: Estate) -> None:
    priority = {host: patroni_of(estate, host.name)["tags"]["failover_priority"] for host in estate.database_members}  # type: ignore[index]
    lowest = min(value for host, value in priority.items() if host.at in estate.database.promotable)
    assert all(0 < value < lowest for host, value in priority.items() if host.at in estate.database.acknowledging)


def test_commits_need_one_confirmation_from_a_quorum_and_the_timers_fit(estate: Estate) -> None:
    wanted = postgresql.dynamic(estate)
    assert (wanted["synchronous_mode"], wanted["synchronous_mode_strict"], wanted["synchronous_node_count"]) == (
        "quorum",
        True,
        1,
    )
    assert wanted["loop_wait"] + 2 * wanted["retry_timeout"] <= wanted["ttl"]
    assert (wanted["failsafe_mode"], wanted["postgresql"]["use_pg_rewind"]) == (False, False)


def test_durability_settings_are_on(estate: Estate) -> None:
    for host in estate.database_members:
        wanted = postgresql.parameters(host)
        assert [wanted[key] for key in ("fsync", "full_page_writes", "synchronous_commit", "ssl")] == ["on"] * 4


def test_wal_fits_the_disk_with_space_for_data(estate: Estate) -> None:
    for host in estate.database_members:
        assert host.disk
        wanted = postgresql.parameters(host)
        wal = sum(int(str(wanted[key]).removesuffix("MB")) for key in ("max_wal_size", "max_slot_wal_keep_size"))
        assert wal <= host.disk.size_mib * 0.4


def test_over_the_network_only_tls_with_a_password_and_only_from_named_hosts(estate: Estate) -> None:
    rules = [rule.split() for rule in postgresql.access_rules(estate, plan(estate))]
    assert rules[-1] == ["host", "all", "all", "all", "reject"]
    for rule in rules[:-1]:
        assert rule[0] == "local" or (
            rule[0] == "hostssl" and rule[3].endswith(("/32", "/128")) and rule[4] == "scram-sha-256"
        )
    assert not any(rule[2] == "postgres" for rule in rules if rule[0] != "local")


def test_leadership_is_preferred_only_outside_the_city_sites(estate: Estate) -> None:
    witnesses = {host.name for host in estate.etcd_members if etcd.is_witness(estate, host)}
    assert witnesses == {"shaoguan-data1"}
    for host in estate.etcd_members:
        assert (etcd.PREFER in files_of(estate, host.name)) is (host.name in witnesses)


def test_etcd_listens_in_both_families_with_tls_and_requires_certificates(estate: Estate) -> None:
    for host in estate.etcd_members:
        text = files_of(estate, host.name)["/etc/govcloud/etcd/etcd.env"].text
        settings = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
        for key in ("ETCD_LISTEN_CLIENT_URLS", "ETCD_LISTEN_PEER_URLS"):
            assert len(settings[key].split(",")) == 2
            assert "http://" not in settings[key]
        assert settings["ETCD_CLIENT_CERT_AUTH"] == settings["ETCD_PEER_CLIENT_CERT_AUTH"] == "true"
        assert settings["ETCD_INITIAL_CLUSTER"].count("=") == len(estate.etcd_members)


def test_hosts_without_a_vote_or_a_database_are_refused(estate: Estate) -> None:
    host = estate.host("shaoguan-ops1")
    with pytest.raises(ValueError, match="shaoguan-ops1"):
        etcd.role_spec(estate, plan(estate), host)
    with pytest.raises(ValueError, match="shaoguan-ops1"):
        postgresql.role_spec(estate, plan(estate), host, secrets_of(estate))


def test_a_verifier_proves_the_password_and_does_not_contain_it(estate: Estate) -> None:
    """The check is the one of a server at login, RFC 5802: the hash of ClientKey is StoredKey."""
    text = database.verifier("approval_app", "app-password")
    head, keys = text.removeprefix("SCRAM-SHA-256$").split("$")
    iterations, salt = head.split(":")
    stored, _ = keys.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", b"app-password", base64.b64decode(salt), int(iterations))
    assert base64.b64decode(stored) == hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert text == database.verifier("approval_app", "app-password")
    assert "app-password" not in database.statements(estate, PASSWORDS)


def test_all_settings_files_are_json_that_their_programs_read(estate: Estate) -> None:
    for path, file in files_of(estate, "shaoguan-data1").items():
        if path.endswith(".json"):
            assert isinstance(json.loads(file.text), dict)
