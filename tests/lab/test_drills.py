"""Drills inject each fault while citizens apply. Every acknowledged row must exist exactly once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from failover.ledger import Ledger, compare, parse_rows
from failover.measured_service import measured_service, stored_rows
from tests.lab.citizens_on_lab import applying
from tests.lab.estate_on_lab import Hosts, govcloud, primary, until_well

pytestmark = pytest.mark.lab

LONGEST_OUTAGE_S = 40
"""The objective of the estate: twice Patroni's time to live of 20 s."""
LONGEST_READ_OUTAGE_S = 10
"""Reads need no primary, only a route to a running city. The drill itself reports if their objective of 2 s is missed.
Above this limit, they did not move to another city without help."""


@pytest.mark.parametrize("site", ["futian", "nanshan", pytest.param("shaoguan", marks=pytest.mark.nightly)])
def test_losing_and_restoring_a_site_loses_no_acknowledged_row(hosts: Hosts, site: str) -> None:
    """The service recovers without help, and no row is lost or duplicated."""
    report = finished("site-loss", "--site", site)
    measured = report["measured"]
    assert (report["site"], report["target"]) == (site, site)
    reported = any(line["event"] == f"the pods of {site} serve again" for line in report["timeline"])
    assert reported == (measured["pods_serving_s"] is not None)  # how soon they serve is measured, not promised


@pytest.mark.nightly
def test_a_silent_cut_of_a_city_link_moves_nothing_but_routes(hosts: Hosts) -> None:
    """BFD notices the cut, and the other city link carries the rest. The primary stays where it is."""
    before = primary()
    report = finished("path-loss", "--target", "city-a")
    assert (report["site"], report["target"]) == (None, "city-a")
    assert report["measured"]["recovery_s"] > hosts.lab.estate.database.ttl_s, (
        "the cut must outlast the primary's lease"
    )
    events = [line["event"] for line in report["timeline"]]
    order = [
        "link city-a drops all packets in both directions", "routing sessions on link city-a are down",
        "link city-a carries packets again", "routing sessions on link city-a are up again",
    ]  # fmt: skip
    assert [event for event in events if event in order] == order
    assert primary() == before
    assert not hosts.lab.is_cut("city-a")


@pytest.mark.nightly
def test_a_killed_primary_is_replaced_and_returns_as_a_standby(hosts: Hosts) -> None:
    """Patroni promotes the other city's member without waiting for the lease, and starts the killed one again."""
    before = primary()
    report = finished("primary-crash")
    assert (report["site"], report["target"]) == (None, before)
    assert report["measured"]["write_outage_s"] < hosts.lab.estate.database.ttl_s
    events = [line["event"] for line in report["timeline"]]
    assert f"PostgreSQL of {before} is killed" in events
    assert f"PostgreSQL of {before} runs again" in events
    assert primary() != before
    until_well(60)


def finished(*argv: str) -> dict[str, Any]:
    """Run a drill and return its report. No data is lost, and the service and the estate recover without help."""
    command = ("drill", "run", *argv, "--yes", "--json")
    done = govcloud(*command)
    assert done.stdout, done.stderr
    if "measured" not in done.report and "applicants-start" in done.stdout:
        # The load was not served before the fault, so this drill has tested nothing. The next one stops the load first.
        print(f"the drill did not begin, a second one follows: {done.stdout.strip()}")
        done = govcloud(*command)
    report = done.report
    assert "measured" in report, f"{report}\n{done.stderr[-1500:]}"
    measured = report["measured"]
    assert (measured["lost"], measured["duplicated"], measured["appeared"]) == (0, 0, 0), done.stderr
    assert measured["acknowledged"] > 500
    assert measured["write_outage_s"] <= LONGEST_OUTAGE_S
    missed = {reason["code"] for reason in report["reasons"]}
    assert measured["read_outage_s"] <= LONGEST_READ_OUTAGE_S
    assert ("read_outage" in missed) == (measured["read_outage_s"] > report["objectives"]["read_outage_s"])
    assert measured["recovery_s"] is not None, report["remaining"]
    assert report["verdict"] in ("pass", "objective-missed"), report["reasons"]
    page = Path(report["report"])
    assert page.is_file()
    assert (page.parent / "report.zh.html").is_file()
    assert json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["id"] == report["id"]
    return report


def rows_of(hosts: Hosts, before: str = "", after: str = "") -> str:
    """Return the database's rows, read like the drill does. `before` and `after` are SQL in the same session."""
    stored = stored_rows(measured_service(hosts.lab.estate)[0])
    argv = hosts.lab.shell_argv(primary(), stored.argv)
    return subprocess.run(
        argv, input=f"{before}{stored.query};{after}", capture_output=True, text=True, check=True, timeout=60
    ).stdout


DOUBLE = """
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE approval.application DROP CONSTRAINT application_key_key;
DROP INDEX approval.application_one_case;
CREATE TEMPORARY TABLE twice AS SELECT * FROM approval.application WHERE key = '{key}';
UPDATE twice SET id = -id;
INSERT INTO approval.application OVERRIDING SYSTEM VALUE SELECT * FROM twice;
"""
"""Starts a transaction in which one key has two rows. It drops the constraints that prevent this. Every end of the
session restores them, because the transaction is never committed."""


@pytest.fixture
def ledger(hosts: Hosts) -> Ledger:
    """The ledger of a load of about ten seconds on the running estate."""
    with applying(hosts) as load:
        pass
    assert load.ledger
    return load.ledger


def test_a_row_deleted_or_duplicated_in_the_database_is_found(hosts: Hosts, ledger: Ledger) -> None:
    """Compare a load's ledger with the real database: intact, with a missing row, and with a duplicated row."""
    text = rows_of(hosts)
    intact = compare(ledger, parse_rows(text))
    assert (list(intact.lost), list(intact.duplicated)) == ([], [])
    acknowledged = {entry.key for entry in ledger.of("write") if entry.first_acknowledged}
    key = next(found for line in reversed(text.splitlines()) if (found := line.split(",")[0]) in acknowledged)
    host = primary()
    damage = (
        "SET session_replication_role = replica; "
        f"CREATE TABLE public.kept AS SELECT * FROM approval.application WHERE key = '{key}'; "
        f"DELETE FROM approval.application WHERE key = '{key}';"
    )
    repair = (
        "SET session_replication_role = replica; "
        "INSERT INTO approval.application OVERRIDING SYSTEM VALUE SELECT * FROM public.kept; DROP TABLE public.kept;"
    )
    sql = ("runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "approval", "-c")
    hosts.run(host, *sql, damage)
    try:
        assert [v.key for v in compare(ledger, parse_rows(rows_of(hosts))).lost] == [key]
    finally:
        hosts.run(host, *sql, repair)
    assert not compare(ledger, parse_rows(rows_of(hosts))).lost
    doubled = parse_rows(rows_of(hosts, DOUBLE.format(key=key), "ROLLBACK;"))
    assert [v.key for v in compare(ledger, doubled).duplicated] == [key]
    assert compare(ledger, parse_rows(rows_of(hosts))).clean


def test_the_primary_moves_as_planned(hosts: Hosts) -> None:
    """`switchover` shows its plan, and with --apply it moves the primary. A move to the remote site is refused (6)."""
    assert govcloud("switchover", "--to", "shaoguan").code == 6
    here = primary("site")
    there = "nanshan" if here == "futian" else "futian"
    planned = govcloud("switchover", "--to", there)
    assert planned.code == 0, planned.stderr
    moved = govcloud("switchover", "--to", there, "--apply")
    assert moved.code == 0, moved.stderr
    until_well(90)
    assert primary("site") == there
