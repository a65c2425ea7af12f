"""Changes that the database itself refuses, and the commands for officers and operators."""

import itertools
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import psycopg
import pytest
from approval import schema
from approval.decision import LEGAL_TRANSITIONS, State
from approval.schema import migrations

from tests.polling import until


@pytest.fixture
def stored(service, next_person):
    """The key of an approved application."""
    return service.apply(next_person()).json()["key"]


@pytest.fixture
def waiting(service, next_person):
    """The key of an application in manual review."""
    body = next_person()
    body["degree"]["graduated_year"] -= 1
    answer = service.apply(body).json()
    assert answer["decision"] == "manual_review"
    return answer["key"]


def owner(primary):
    """Return a connection as the schema's owner."""
    return psycopg.connect(primary.dsn("approval_owner"), autocommit=True)


@pytest.mark.parametrize("to", ["rejected", "manual_review"])
def test_an_approval_cannot_be_revoked(primary, stored, to):
    """The trigger refuses it for every login."""
    with owner(primary) as connection, pytest.raises(psycopg.errors.CheckViolation, match="illegal transition"):
        connection.execute("UPDATE approval.application SET state = %s WHERE key = %s", (to, stored))


def test_a_state_cannot_change_without_its_audit_row(primary, waiting):
    """The database checks this when the transaction commits."""
    with owner(primary) as connection, pytest.raises(psycopg.errors.CheckViolation, match="no audit row"):
        connection.execute("UPDATE approval.application SET state = 'approved' WHERE key = %s", (waiting,))


def test_an_answer_cannot_be_rewritten(primary, stored):
    """Neither its decision nor its content can change."""
    with owner(primary) as connection:
        for change in ("decision = 'rejected'", "digest = repeat('0', 64)", "decided_at = now()", "name = '某人'"):
            with pytest.raises(psycopg.errors.CheckViolation, match="only its state"):
                connection.execute(f"UPDATE approval.application SET {change} WHERE key = %s", (stored,))


def test_audit_rows_are_only_added(primary, stored):
    """Update, deletion and truncation are refused."""
    with owner(primary) as connection:
        for act in ("UPDATE approval.audit SET actor = 'x'", "DELETE FROM approval.audit", "TRUNCATE approval.audit"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(act)


def test_the_service_can_neither_change_nor_delete(primary, stored):
    """Its login may only add and read."""
    with psycopg.connect(primary.dsn("approval_app"), autocommit=True) as connection:
        for act in ("UPDATE approval.application SET state = 'rejected'", "DELETE FROM approval.application",
                    "DELETE FROM approval.audit", "CREATE TABLE approval.mine (n int)"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(act)


@pytest.mark.parametrize("mobile", ["13800138000", "1540000000", "154"])
def test_the_database_refuses_a_number_that_is_not_of_a_synthetic_person(primary, mobile):
    """The service checks it first. This check also covers every other program."""
    with owner(primary) as connection, pytest.raises(psycopg.errors.CheckViolation, match="application_mobile"):
        connection.execute(
            "INSERT INTO approval.application (key, digest, id_number, name, decision, reason_code, decided_at, state,"
            " site, synthetic, body, mobile) VALUES (%s, repeat('a', 64), '990001199201010000', '某人', 'rejected',"
            " 'no_degree', now(), 'rejected', 'futian', true, '{}', %s)",
            (str(uuid.uuid4()), mobile),
        )


PREVIOUS_RELEASE = """
WITH stored AS (
    INSERT INTO approval.application
        (key, digest, id_number, name, decision, reason_code, decided_at, state, site, synthetic, body)
    VALUES (gen_random_uuid(), repeat('a', 64), '99000119920101' || lpad(%s::text, 4, '0'), '某人', 'rejected',
            'no_degree', now(), 'rejected', 'futian', true, '{}')
    RETURNING id, key
), audited AS (
    INSERT INTO approval.audit (application_id, key, event, to_state, reason_code, actor, site)
    SELECT id, key, 'decided', 'rejected', 'no_degree', 'approval', 'futian' FROM stored
)
INSERT INTO approval.outbox (application_id, channel, template, suppressed)
SELECT id, 'sms', 'rejected', true FROM stored
"""


def test_the_schema_is_updated_under_load_and_the_previous_release_keeps_writing(primary):
    """A long read holds a table's lock. The migration waits only briefly at a time, so no write waits for a second."""
    primary.sql("CREATE DATABASE rolling OWNER approval_owner", database="postgres")
    dsn, stop, waits = primary.dsn("approval_owner", "rolling"), threading.Event(), []
    with patch("approval.schema.migrations", lambda: migrations()[:2]):
        schema.apply(dsn)

    def write() -> None:
        with psycopg.connect(primary.dsn("approval_app", "rolling"), autocommit=True) as connection:
            for n in itertools.count():
                started = time.monotonic()
                connection.execute(PREVIOUS_RELEASE, (n,))
                waits.append(time.monotonic() - started)
                if stop.is_set():
                    return

    with ThreadPoolExecutor(2) as threads, psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM approval.application")
        writing, migrating = threads.submit(write), threads.submit(schema.apply, dsn)
        try:
            until("writes beside the waiting migration", lambda: len(waits) > 20 and max(waits) > 0.1, 20)
            assert not migrating.done()
            reader.rollback()
            assert migrating.result(20) == [migration.name for migration in migrations()[2:]]
            count = len(waits)
            until("writes of the previous release on the new schema", lambda: len(waits) > count + 20, 20)
        finally:
            stop.set()
        writing.result(20)
    assert max(waits) < 0.9, "the service refuses a write after its lock_timeout of 0.9 s"


def test_an_application_without_audit_row_cannot_be_stored(primary):
    """The service's own login cannot do it either."""
    with psycopg.connect(primary.dsn("approval_app"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match="no audit row"):
            connection.execute(
                "INSERT INTO approval.application (key, digest, id_number, name, decision, reason_code, decided_at,"
                " state, site, synthetic, body) VALUES (%s, repeat('a', 64), '990001199201010000', '某人', 'rejected',"
                " 'no_degree', now(), 'rejected', 'futian', true, '{}')",
                (str(uuid.uuid4()),),
            )


def test_code_and_database_have_the_same_transitions(primary):
    """Both have the same rule and must agree."""
    rows = primary.sql("SELECT from_state, to_state FROM approval.legal_transition")
    assert {(State(a) if a else None, State(b)) for a, b in rows} == {
        (a, b) for a, bs in LEGAL_TRANSITIONS.items() for b in bs
    }


def test_an_officer_settles_a_review_and_the_first_answer_stays(primary, service, waiting, run_tool):
    """The state changes together with its audit row. The stored decision does not change."""
    review = ("review", "--dsn", primary.dsn("approval_owner"), "--key", waiting, "--officer", "1042")
    done = run_tool("admin", *review, "--to", "approved", "--reason", "学历已核实")
    assert json.loads(done.stdout) == {"from": "manual_review", "to": "approved"}, done.stderr
    again = run_tool("admin", *review, "--to", "rejected", "--reason", "反悔")
    assert again.returncode == 1
    assert "illegal transition: approved -> rejected" in again.stderr
    row = primary.sql("SELECT decision, state FROM approval.application WHERE key = %s", (waiting,))
    assert row == [("manual_review", "approved")]
    events = primary.sql("SELECT event, to_state FROM approval.audit WHERE key = %s ORDER BY id", (waiting,))
    assert events == [("decided", "manual_review"), ("reviewed", "approved")]


@pytest.mark.parametrize(("deliver_synthetic", "quiet"), [("", True), ("1540", False)])
def test_an_officers_decision_reaches_the_same_number(
    primary, standby, start_service, next_person, run_tool, deliver_synthetic, quiet
):
    """The message about a review is suppressed exactly if the message about the first decision was."""
    write, read = primary.dsn("approval_app"), standby.dsn("approval_app")
    body = next_person() | {"mobile": "15400000007"}
    body["degree"]["graduated_year"] -= 1
    key = start_service(write, read, APPROVAL_DELIVER_SYNTHETIC=deliver_synthetic).apply(body).json()["key"]
    review = ("review", "--dsn", primary.dsn("approval_owner"), "--key", key, "--officer", "1042")
    done = run_tool("admin", *review, "--to", "approved", "--reason", "学历已核实")
    assert done.returncode == 0, done.stderr
    rows = primary.sql(
        "SELECT o.template, o.suppressed, o.mobile FROM approval.outbox o JOIN approval.application a"
        " ON a.id = o.application_id WHERE a.key = %s ORDER BY o.id",
        (key,),
    )
    number = None if quiet else "15400000007"
    assert rows == [("manual_review", quiet, number), ("approved", quiet, number)]


def test_schema_and_registers_applied_again_change_nothing(primary, run_tool, loaded):
    """The commands are idempotent and report that nothing changed."""
    again = run_tool("schema", "apply", "--dsn", primary.dsn("approval_owner"))
    assert json.loads(again.stdout) == {"applied": [], "changed": False}
    people, seed = loaded
    load = ("load", "--dsn", primary.dsn("approval_owner"), "--people", str(people), "--seed", str(seed))
    assert json.loads(run_tool("registers", *load).stdout)["changed"] is False


def test_a_schema_without_its_roles_names_them(primary, run_tool):
    """The error is one sentence, and nothing is partly applied."""
    primary.sql("CREATE ROLE stranger LOGIN CREATEDB", database="postgres")
    primary.sql("CREATE DATABASE empty OWNER stranger", database="postgres")
    done = run_tool("schema", "apply", "--dsn", primary.dsn("stranger", "empty"))
    assert done.returncode == 1
    assert "GRANT" in done.stderr
    assert "Traceback" not in done.stderr
    assert primary.sql("SELECT to_regnamespace('approval')", database="empty") == [(None,)]


def test_an_unreachable_database_is_reported_without_a_traceback(home, run_tool):
    """The exit code is 1."""
    done = run_tool("schema", "apply", "--dsn", f"host={home} port=1 user=x dbname=y")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_synthetic_applications_are_purged_with_an_audit_row(primary, service, stored, run_tool):
    """All are removed, one audit row has their number, and their earlier audit rows stay."""
    with owner(primary) as connection, pytest.raises(psycopg.errors.CheckViolation, match="purged"):
        connection.execute("DELETE FROM approval.application")
    count = primary.sql("SELECT count(*) FROM approval.application")[0][0]
    done = run_tool("admin", "purge-synthetic", "--dsn", primary.dsn("approval_owner"), "--officer", "1042")
    assert json.loads(done.stdout) == {"purged": count}, done.stderr
    assert primary.sql("SELECT count(*) FROM approval.outbox") == [(0,)]
    purge = primary.sql("SELECT detail FROM approval.audit WHERE event = 'purged' ORDER BY id DESC LIMIT 1")
    assert purge == [({"applications": count},)]
    assert primary.sql("SELECT count(*) FROM approval.audit WHERE key = %s", (stored,)) == [(1,)]
