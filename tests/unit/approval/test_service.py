"""Settings, freshness, schema files, the page, and the classification of database errors before the commit."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import psycopg
import pytest
from approval.application import parse
from approval.decision import LEGAL_TRANSITIONS
from approval.freshness import CATCHING_UP_S, CAUGHT_UP_S, WRITABLE_FOR_S, age_s, caught_up, observe, writable
from approval.identity import MOBILE
from approval.observability import LabelledRegistry, Metrics, reason_of
from approval.people import applicant
from approval.problems import EXPLANATIONS, Problem
from approval.schema import Migration, SchemaError, migrations, pending
from approval.settings import SettingsError, from_environment
from approval.store import Answer, Position, classify, is_suppressed
from approval.web import answer_json, canonical_key, load_page
from prometheus_client import generate_latest

ENVIRONMENT = {"GOVCLOUD_SITE": "futian", "APPROVAL_WRITE_DSN": "host=a", "APPROVAL_READ_DSN": "host=b"}
FORM = parse(json.dumps(applicant(1, 1)).encode(), date(2026, 6, 1))


def test_the_details_of_a_database_error_are_no_reason_for_a_log():
    """PostgreSQL shows the values of a refused row: the applicant's name and numbers."""
    refused = psycopg.errors.CheckViolation("new row violates\nDETAIL:  Failing row contains (张三, 13800138000).")
    assert reason_of(refused) == "new row violates"
    assert reason_of(TimeoutError()) == "TimeoutError"


def test_settings_come_from_the_environment_and_are_safe_by_default():
    """By default synthetic applicants are refused and synchronous standbys are required."""
    settings = from_environment(ENVIRONMENT)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.require_sync is True
    assert settings.synthetic is False
    assert from_environment(ENVIRONMENT | {"APPROVAL_LISTEN": "[::1]:81"}).host == "::1"
    assert from_environment(ENVIRONMENT | {"APPROVAL_LISTEN": ":81"}).host == "", "all addresses of both families"


def test_metrics_have_the_name_of_the_instance_if_it_has_one():
    """Scrapes of one address reach different instances. Their counters must not be mixed up."""
    metrics = Metrics("futian")
    metrics.requests.labels("/", "200", "").inc()
    assert 'route="/",status="200"} 1.0' in generate_latest(LabelledRegistry(metrics.registry, "")).decode()
    text = generate_latest(LabelledRegistry(metrics.registry, "approval-1")).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) > 5
    assert all('pod="approval-1"' in line for line in samples)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOVCLOUD_SITE", ""),
        ("APPROVAL_WRITE_DSN", " "),
        ("APPROVAL_LISTEN", "8080x"),
        ("APPROVAL_LISTEN", "127.0.0.1:0"),
        ("APPROVAL_SYNTHETIC", "yes"),
        ("APPROVAL_WRITE_CONNECTIONS", "0"),
        ("APPROVAL_DELIVER_SYNTHETIC", "138"),
        ("APPROVAL_DELIVER_SYNTHETIC", "15"),
        ("APPROVAL_DELIVER_SYNTHETIC", "154x"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    """The message is one sentence with the setting's name."""
    with pytest.raises(SettingsError, match=name):
        from_environment(ENVIRONMENT | {name: value})


def test_the_age_of_a_copy_needs_no_clock():
    """It grows while the copy shows no new heartbeat, and restarts with each new one, for any wall clock."""
    seen = observe(None, 10, -300.0, 100.0)
    assert age_s(seen, 100.0) == 0.0
    seen = observe(seen, 10, -300.0, 104.0)
    assert age_s(seen, 104.0) == 4.0
    seen = observe(seen, 11, 300.0, 105.0)
    assert age_s(seen, 105.5) == 0.5
    assert age_s(observe(seen, None, None, 106.0), 106.0) == 1.0


@pytest.mark.parametrize(
    ("before", "lag_s", "up_s", "ready"),
    [
        (False, None, 0.1, False),
        (False, 300.0, 5.0, False),
        (False, CAUGHT_UP_S, 0.1, True),
        (False, -300.0, 0.1, True),
        (False, 300.0, CATCHING_UP_S + 0.1, True),
        (False, None, CATCHING_UP_S + 0.1, True),
        (True, 300.0, 5.0, True),
        (True, None, 5.0, True),
    ],
)
def test_a_site_waits_once_and_not_for_ever_until_its_copy_has_caught_up(before, lag_s, up_s, ready):
    """A copy far behind delays a site after its start, for a limited time. Later it never does."""
    assert caught_up(before, lag_s, up_s) is ready


def test_the_first_observation_takes_the_age_from_the_copys_own_time():
    """A service that starts with a stale copy does not report it as fresh."""
    assert age_s(observe(None, 10, 42.0, 100.0), 100.0) == 42.0
    assert age_s(None, 100.0) is None


def test_a_site_that_has_missed_three_heartbeats_cannot_write():
    """A site that has never written cannot write either."""
    assert writable(10.0, 10.0 + WRITABLE_FOR_S)
    assert not writable(10.0, 10.1 + WRITABLE_FOR_S)
    assert not writable(None, 0.0)


@pytest.mark.parametrize(
    ("sqlstate", "lost", "meaning"),
    [
        (None, True, None),
        ("57P01", True, None),
        ("57P03", False, None),
        ("08006", False, None),
        ("25006", False, None),
        ("25P03", True, None),
        ("40001", False, None),
        ("40P01", False, None),
        ("57014", False, "overloaded"),
        ("55P03", False, "overloaded"),
        ("53300", False, "overloaded"),
        ("42P01", False, "internal"),
        ("42501", False, "internal"),
        ("23514", False, "internal"),
    ],
)
def test_an_error_before_the_commit_is_retried_only_if_the_server_went_away(sqlstate, lost, meaning):
    """All other errors are reported at once."""
    assert classify(sqlstate, lost) == meaning


@pytest.mark.parametrize(
    ("mobile", "synthetic", "deliver_synthetic", "suppressed"),
    [
        (None, False, "", True),
        (None, True, "1540", True),
        ("13800138000", False, "", False),
        ("15400000001", True, "", True),
        ("15400000001", True, "1541", True),
        ("15400000001", True, "1540", False),
    ],
)
def test_only_real_people_and_the_named_test_population_get_a_message(mobile, synthetic, deliver_synthetic, suppressed):
    """Nothing is sent to other synthetic people, and nothing without a number."""
    form = replace(FORM, mobile=mobile, synthetic=synthetic)
    assert is_suppressed(form, deliver_synthetic) is suppressed


def test_the_page_asks_for_a_mobile_number_in_both_languages():
    """It sends the member only if the citizen filled in the field, and its own check is the service's."""
    page, _ = load_page()
    assert '手机号码 <span lang="en">Mobile number</span>' in page
    assert "...(mobile && { mobile })" in page
    explanation = EXPLANATIONS["mobile_malformed"]
    assert explanation.zh in page
    assert explanation.en in page
    check = re.search(r"it\.mobile && !/\^(.*?)\$/", page)[1]
    assert re.sub(r"\\d", "[0-9]", check) == MOBILE.pattern.replace("(?:", "(")


def test_migrations_are_numbered_without_gaps():
    shipped = migrations()
    assert [migration.number for migration in shipped] == list(range(1, len(shipped) + 1))


def test_only_new_migrations_are_applied_and_an_edited_file_is_refused():
    """A database that is newer than the release is also refused."""
    one, two = (Migration(number=n, name=f"000{n}_x.sql", text=f"-- {n}") for n in (1, 2))
    assert pending((one, two), {1: one.sha256}) == (two,)
    with pytest.raises(SchemaError, match="edited"):
        pending((one, two), {1: two.sha256})
    with pytest.raises(SchemaError, match="newer"):
        pending((one,), {1: one.sha256, 2: two.sha256})


def test_the_migration_and_the_code_have_the_same_transitions():
    """The migration fills the table with the transitions that the code allows."""
    text = "".join(migration.text for migration in migrations())
    block = re.search(r"INSERT INTO approval.legal_transition VALUES(.*?);", text, re.DOTALL)[1]
    pairs = set(re.findall(r"\((NULL|'\w+'), '(\w+)'\)", block))
    assert pairs == {(f"'{a}'" if a else "NULL", str(b)) for a, bs in LEGAL_TRANSITIONS.items() for b in bs}


def test_a_key_is_a_uuid_in_its_usual_form():
    """The result is in lower case."""
    assert canonical_key("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11") == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    for wrong in ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "x", "１" * 36):
        with pytest.raises(Problem, match="key_invalid"):
            canonical_key(wrong)
    for missing in (None, ""):
        with pytest.raises(Problem, match="key_missing"):
            canonical_key(missing)


def test_the_page_loads_nothing_from_other_hosts():
    """It has no address of another host, and its policy forbids one."""
    page, policy = load_page()
    assert "http://" not in page
    assert "https://" not in page
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert 'lang="zh-CN"' in page


def test_an_acknowledgement_has_the_members_that_clients_rely_on():
    """It has exactly these members."""
    answer = Answer(
        application_id=1,
        key="k",
        digest="d",
        decision="approved",
        reason_code="meets_conditions",
        decided_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        position=Position(timeline=2, lsn="0/16B3748"),
        replayed=False,
    )
    assert answer_json(answer) == {
        "application_id": 1,
        "key": "k",
        "decision": "approved",
        "reason_code": "meets_conditions",
        "reason": "符合高校应届毕业生落户条件，已批准。",
        "decided_at": "2026-01-02T03:04:05.678Z",
        "digest": "d",
        "commit": {"timeline": 2, "lsn": "0/16B3748"},
        "replayed": False,
    }


def test_an_unexpected_error_is_never_500():
    """The answer asks the client to retry with the same key."""
    assert EXPLANATIONS["internal"].status == 503
