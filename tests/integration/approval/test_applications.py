"""The service against a real primary with a real synchronous standby."""

import json
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from approval.application import canonical_json
from approval.people import Case, applicant, person

SEED = 7


def first(case: Case) -> dict:
    """Return the form of the first person of a case."""
    return next(applicant(SEED, n) for n in range(1, 5000) if person(SEED, n).case is case)


def test_a_graduate_is_approved_with_timeline_and_position(service, primary, next_person):
    """The acknowledgement has the members that the ledger needs, and the row is stored."""
    body = next_person()
    answer = service.apply(body)
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert document["decision"] == "approved"
    assert document["reason_code"] == "meets_conditions"
    assert document["commit"]["timeline"] == 1
    assert "/" in document["commit"]["lsn"]
    assert answer.headers["x-govcloud-site"] == "futian"
    query = "SELECT digest, decision, state, body FROM approval.application WHERE key = %s"
    assert primary.sql(query, (document["key"],)) == [(document["digest"], "approved", "approved", body)]
    import hashlib

    assert document["digest"] == hashlib.sha256(canonical_json(body).encode()).hexdigest()


def test_decision_audit_and_message_are_one_transaction(service, primary, next_person):
    """One transaction writes one row of each. The message to a synthetic person is suppressed."""
    number = service.apply(next_person()).json()["application_id"]
    rows = primary.sql(
        "SELECT a.xmin = u.xmin AND a.xmin = o.xmin, u.event, o.suppressed FROM approval.application a"
        " JOIN approval.audit u ON u.application_id = a.id JOIN approval.outbox o ON o.application_id = a.id"
        " WHERE a.id = %s",
        (number,),
    )
    assert rows == [(True, "decided", True)]


MESSAGE = """
SELECT a.mobile, o.mobile, o.suppressed FROM approval.application a JOIN approval.outbox o ON o.application_id = a.id
WHERE a.key = %s ORDER BY o.id
"""


def test_a_message_has_a_number_only_if_it_may_be_sent(primary, standby, start_service, next_person):
    """Other synthetic people keep their number in the application, and the outbox never gets it."""
    instance = start_service(
        primary.dsn("approval_app"), standby.dsn("approval_app"), APPROVAL_DELIVER_SYNTHETIC="15400"
    )
    for number, row in (
        ("+86 154 0000 0001", ("15400000001", "15400000001", False)),
        ("15410000001", ("15410000001", None, True)),
        (None, (None, None, True)),
    ):
        answer = instance.apply({**next_person(), **({"mobile": number} if number else {})})
        assert answer.status_code == 201, answer.text
        assert primary.sql(MESSAGE, (answer.json()["key"],)) == [row]
    text = instance.log.read_text() + instance.client.get("/metrics").text
    assert "1540000" not in text
    assert "154 0000" not in text


def test_a_replay_returns_the_first_answer_after_its_own_write(service, primary, next_person):
    """The second answer is the first one, and the audit shows the replay's own synchronous write."""
    body = next_person()
    one = service.apply(body)
    two = service.apply(body, one.json()["key"])
    assert (one.status_code, two.status_code) == (201, 200)
    assert two.json()["replayed"] is True
    same = ("application_id", "decision", "reason_code", "decided_at", "digest", "key")
    assert [one.json()[name] for name in same] == [two.json()[name] for name in same]
    events = primary.sql("SELECT event FROM approval.audit WHERE key = %s ORDER BY id", (one.json()["key"],))
    assert events == [("decided",), ("replayed",)]


def test_a_key_with_another_body_is_refused(service, next_person):
    """The answer is 409, and the first answer stays."""
    body = next_person()
    key = service.apply(body).json()["key"]
    answer = service.apply({**body, "employer": "深圳市另一家有限公司"}, key)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")
    assert service.apply(body, key).json()["replayed"] is True


def test_twenty_simultaneous_requests_with_one_key_store_one_row(service, primary, next_person):
    """One request is first and all others are replays, for every order of the requests."""
    body, key = next_person(), str(uuid.uuid4())
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: service.apply(body, key), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (key,)) == [(1,)]


def test_a_person_who_applies_ten_times_at_once_is_approved_once(service, next_person):
    """Ten keys of one person give one approval and nine duplicates."""
    body = next_person()
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: service.apply(body).json(), range(10)))
    assert sorted(answer["reason_code"] for answer in answers) == ["duplicate_application"] * 9 + ["meets_conditions"]


@pytest.mark.parametrize(
    ("case", "decision", "reason"),
    [
        (Case.NO_DEGREE, "rejected", "no_degree"),
        (Case.HOUSEHOLD, "rejected", "household_exists"),
        (Case.UNKNOWN, "manual_review", "person_unknown"),
        (Case.NAME_DIFFERS, "rejected", "name_mismatch"),
        (Case.DEGREE_DIFFERS, "manual_review", "degree_mismatch"),
        (Case.DEGREE_MISSING, "manual_review", "degree_unverified"),
        (Case.CREDIT_LISTED, "manual_review", "credit_listed"),
        (Case.CANCELLED, "rejected", "person_inactive"),
        (Case.LONG_GRADUATED, "rejected", "not_recent_graduate"),
    ],
)
def test_the_generated_edge_cases_get_their_expected_decision(service, case, decision, reason):
    """The generator of people and the rules agree."""
    answer = service.apply(first(case)).json()
    assert (answer["decision"], answer["reason_code"]) == (decision, reason)


def test_an_application_is_read_from_the_standby_with_its_age(service, standby, next_person):
    """The answer has the same fields, and the age of the local copy."""
    stored = service.apply(next_person()).json()
    deadline = time.monotonic() + 5
    while (answer := service.client.get(f"/v1/applications/{stored['key']}")).status_code == 404:
        assert time.monotonic() < deadline
    seen = answer.json()
    assert {name: seen[name] for name in stored if name not in ("commit", "replayed")} == {
        name: stored[name] for name in stored if name not in ("commit", "replayed")
    }
    assert 0 <= seen["age_s"] < 5
    assert seen["as_of"].endswith("Z")
    assert standby.sql("SELECT pg_is_in_recovery()") == [(True,)]


def test_an_unknown_application_is_404(service):
    """The answer has its code and both languages."""
    answer = service.client.get(f"/v1/applications/{uuid.uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["message"]
    assert answer.json()["message_en"]


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/v1/applications/xyz", "GET", 400, "key_invalid"),
        ("/nowhere", "GET", 404, "path_unknown"),
        ("/v1/applications", "DELETE", 405, "method_not_allowed"),
        ("/docs", "GET", 404, "path_unknown"),
    ],
)
def test_an_unknown_path_or_method_is_refused_with_a_code(service, path, method, status, code):
    """The framework's own error pages are never sent."""
    answer = service.client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_client_that_disconnects_in_the_middle_is_not_logged_as_an_error(service):
    """After half a body the log has one line without a traceback, and the next client is served."""
    key = str(uuid.uuid4())
    head = f"POST /v1/applications HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\nContent-Length: 500\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.client.base_url.port), timeout=5) as leaving:
        leaving.sendall(head.encode() + b'{"name":')
    deadline = time.monotonic() + 10
    while key not in (text := service.log.read_text()):
        assert time.monotonic() < deadline
    assert next(json.loads(line) for line in text.splitlines() if key in line)["status"] == 499
    assert "request failed" not in text
    assert service.client.get("/healthz").status_code == 200


def test_a_missing_key_is_refused(service, next_person):
    """Without a key a client cannot retry safely."""
    answer = service.client.post("/v1/applications", json=next_person())
    assert (answer.status_code, answer.json()["code"]) == (400, "key_missing")


def test_health_and_metrics(service):
    """All four pages answer, and the metrics have decisions and ages."""
    for path in ("/", "/healthz", "/readyz", "/writez"):
        assert service.client.get(path).status_code == 200, path
    text = service.client.get("/metrics").text
    assert "approval_writable 1.0" in text
    assert 'approval_site{site="futian"} 1.0' in text
    assert "approval_decision_seconds_bucket" in text


def test_the_log_is_json_without_personal_data(service, next_person):
    """The log has one object per request with key and decision, but no name and no identity number."""
    body = next_person()
    key = service.apply(body).json()["key"]
    deadline = time.monotonic() + 5
    while key not in (text := service.log.read_text()):
        assert time.monotonic() < deadline
    line = next(json.loads(line) for line in text.splitlines() if key in line)
    assert line["decision"] == "approved"
    assert body["name"] not in text
    assert body["id_number"] not in text


def test_the_service_cannot_read_the_agencies_tables(primary):
    """It can read only the views that the agencies share."""
    with psycopg.connect(primary.dsn("approval_app"), autocommit=True) as connection:
        for table in ("public_security.resident", "human_resources.degree", "development_reform.credit_record"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT 1 FROM {table}")
    owners = primary.sql(
        "SELECT nspname, nspowner::regrole::text FROM pg_namespace"
        " WHERE nspname IN ('human_resources', 'development_reform', 'public_security')"
    )
    assert all(schema == owner for schema, owner in owners)
    assert len(owners) == 3
