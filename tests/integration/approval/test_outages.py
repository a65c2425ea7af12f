"""Answers of the service without a primary, without a standby, or after an uncertain commit."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.polling import until

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'approval-write'"
OFFICER = ("--officer", "1042")
HEARTBEAT_AGE = "SELECT extract(epoch FROM clock_timestamp() - max(at))::float FROM approval.pulse"


@pytest.fixture
def unreachable_copy(primary, standby, service):
    """Commits wait for a standby that does not exist. After the test they wait for the real one again."""
    primary.configure(synchronous_standby_names="ANY 1 (nowhere)")
    yield
    primary.configure(synchronous_standby_names="ANY 1 (other_city_site)")
    until("writes", lambda: service.client.get("/writez").status_code == 200, 20)


def test_an_instance_is_connected_before_it_answers_anything(primary, standby, start_service):
    """It gets requests as soon as its port is open. They have no time to wait for connections."""
    marked = {"write_dsn": primary.dsn("approval_app"), "read_dsn": standby.dsn("approval_app")}
    before = connected(primary, standby)
    start_service(**marked)
    assert [now - then >= 4 for now, then in zip(connected(primary, standby), before, strict=True)] == [True, True]


def connected(primary, standby):
    """Return the number of sessions of the service's two pools."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    return primary.sql(count, ("approval-write",))[0][0], standby.sql(count, ("approval-read",))[0][0]


@pytest.mark.usefixtures("unreachable_copy")
def test_a_commit_without_a_copy_is_never_acknowledged(primary, service, next_person):
    """The answer is 503 commit_unknown after a bounded wait, and the row is invisible. Later a retry is a replay."""
    body, key = next_person(), str(uuid.uuid4())
    started = time.monotonic()
    answer = service.apply(body, key)
    assert (answer.status_code, answer.json()["code"]) == (503, "commit_unknown")
    assert answer.headers["retry-after"] == "1"
    assert time.monotonic() - started < 3.5
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (key,)) == [(0,)]
    retry = service.apply(body, key)
    assert retry.status_code == 503
    primary.configure(synchronous_standby_names="ANY 1 (other_city_site)")
    until("the replay", lambda: service.apply(body, key).status_code == 200, 20)
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (key,)) == [(1,)]


@pytest.mark.usefixtures("unreachable_copy")
def test_a_cancelled_wait_for_the_copy_is_unknown_and_its_replay_is_not_confirmed(primary, service, next_person):
    """PostgreSQL then reports COMMIT with a warning, and the row is visible. Still no answer may confirm it."""
    body, key = next_person(), str(uuid.uuid4())
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(service.apply, body, key)
        until("the commit waits", lambda: primary.sql(WAITING) != [], 20)
        primary.sql(f"SELECT pg_cancel_backend(pid) FROM ({WAITING}) AS w")
        answer = pending.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "commit_unknown")
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (key,)) == [(1,)]
    for repeat in (body, {**body, "employer": "深圳市另一家有限公司"}):
        again = service.apply(repeat, key)
        assert (again.status_code, again.json()["code"]) == (503, "commit_unknown"), (
            "confirmed a row that no standby has"
        )


def test_an_officers_command_with_a_cancelled_wait_reports_no_success(primary, service, next_person, run_tool, request):
    """It is committed at one site. The command reports that a second copy is not known."""
    until("something to purge", lambda: service.apply(next_person()).status_code == 201, 20)
    request.getfixturevalue("unreachable_copy")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'approval_owner'"
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(run_tool, "admin", "purge-synthetic", "--dsn", primary.dsn("approval_owner"), *OFFICER)
        until("the commit waits", lambda: primary.sql(waiting) != [], 20)
        primary.sql(f"SELECT pg_cancel_backend(pid) FROM ({waiting}) AS w")
        done = pending.result()
    assert (done.returncode, done.stdout) == (1, "")
    assert "not known whether a second site has the change" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("unreachable_copy")
def test_a_hanging_primary_occupies_at_most_the_connection_pool(primary, service, next_person):
    """Forty writes to a stalled primary are all answered in time, and at most twelve backends wait."""
    bodies = [next_person() for _ in range(40)]
    started = time.monotonic()
    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(service.apply, bodies))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["code"] for answer in answers} <= {"commit_unknown", "overloaded", "no_primary"}
    assert time.monotonic() - started < 4
    assert len(primary.sql(WAITING)) <= 12
    until("no writes reported", lambda: service.client.get("/writez").status_code == 503, 4)
    assert service.client.get("/readyz").status_code == 200


def test_without_any_synchronous_copy_configured_no_write_is_accepted(primary, service, next_person):
    """With an empty list one site alone would acknowledge, so a write is refused before anything is stored."""
    primary.configure(synchronous_standby_names="")
    try:
        answer = service.apply(next_person())
        assert (answer.status_code, answer.json()["code"]) == (503, "unprotected")
    finally:
        primary.configure(synchronous_standby_names="ANY 1 (other_city_site)")
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (service.keys[-1],)) == [(0,)]


def test_no_primary_is_503_within_a_second_and_reads_still_work(standby, start_service, next_person):
    """No server listens at the primary's address. Page, readiness and reads still work; writes get Retry-After."""
    instance = start_service(
        f"host={standby.home} port=1 user=approval_app dbname=approval", standby.dsn("approval_app")
    )
    started = time.monotonic()
    answer = instance.apply(next_person())
    assert time.monotonic() - started < 1.3
    assert (answer.status_code, answer.json()["code"]) == (503, "no_primary")
    assert answer.headers["retry-after"] == "1"
    assert instance.client.get("/readyz").status_code == 200
    assert instance.client.get("/").status_code == 200
    assert instance.client.get("/writez").json()["code"] == "no_primary"
    assert instance.client.get(f"/v1/applications/{uuid.uuid4()}").status_code == 404


def test_a_site_that_comes_back_is_not_ready_before_its_copy_has_caught_up(primary, standby, service, start_service):
    """Its copy stands still for three heartbeats: not ready, but page and reads answer; once level it stays ready."""
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        until("the copy to fall behind", lambda: standby.sql(HEARTBEAT_AGE)[0][0] > 3, 20)
        returned = start_service(primary.dsn("approval_app"), standby.dsn("approval_app"))
        until("the service to start", lambda: returned.client.get("/").status_code == 200, 20)
        answer = returned.client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "catching_up")
        assert returned.client.get(f"/v1/applications/{uuid.uuid4()}").status_code == 404
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    until("readiness", lambda: returned.client.get("/readyz").status_code == 200, 5)
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        until("the copy to fall behind again", lambda: standby.sql(HEARTBEAT_AGE)[0][0] > 3, 20)
        assert returned.client.get("/readyz").status_code == 200
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")


def test_a_standby_in_place_of_the_primary_is_no_primary(standby, start_service, next_person):
    """A proxy that has not yet noticed a role change connects clients to a read-only server."""
    misled = start_service(standby.dsn("approval_app"), standby.dsn("approval_app"))
    answer = misled.apply(next_person())
    assert (answer.status_code, answer.json()["code"]) == (503, "no_primary")


def test_without_any_database_the_page_answers_and_the_site_is_not_ready(home, start_service, next_person):
    """The service starts and answers. Only /readyz fails, so that the site is withdrawn."""
    nothing = f"host={home} port=2 user=approval_app dbname=approval"
    instance = start_service(nothing, nothing)
    assert instance.client.get("/").status_code == 200
    assert instance.client.get("/readyz").status_code == 503
    assert instance.client.get("/readyz").json()["code"] == "no_read"
    assert instance.apply(next_person()).json()["code"] == "no_primary"


def test_a_restarted_primary_is_used_at_once_and_keeps_acknowledged_writes(primary, service, next_person):
    """After a crash and restart all pooled connections are dead, and the first request succeeds."""
    bodies = [next_person() for _ in range(10)]
    with ThreadPoolExecutor(5) as threads:
        keys = [answer.json()["key"] for answer in threads.map(service.apply, bodies)]
    primary.stop("immediate")
    assert service.apply(next_person()).json()["code"] == "no_primary"
    primary.start()
    until("the standby streams", lambda: primary.sql("SELECT count(*) FROM pg_stat_replication") == [(1,)], 20)
    answer = service.apply(next_person())
    assert answer.status_code == 201, answer.text
    replayed = [service.apply(body, key).json()["replayed"] for body, key in zip(bodies, keys, strict=True)]
    assert replayed == [True] * 10


def test_the_service_waits_for_standbys_even_if_the_role_disables_it(primary, service, next_person):
    """Defaults of the role that switch off the wait or hide its warning have no effect on the service."""
    primary.sql("ALTER ROLE approval_app SET synchronous_commit = 'off'")
    primary.sql("ALTER ROLE approval_app SET client_min_messages = 'error'")
    try:
        primary.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'approval-%%'", ()
        )
        assert service.apply(next_person()).status_code == 201
        primary.configure(synchronous_standby_names="ANY 1 (nowhere)")
        assert service.apply(next_person()).json()["code"] == "commit_unknown"
    finally:
        primary.sql("ALTER ROLE approval_app RESET ALL")
        primary.configure(synchronous_standby_names="ANY 1 (other_city_site)")
