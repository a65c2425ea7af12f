"""Each city site is lost and regained while citizens apply; every acknowledged row is there exactly once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from failover.drills.context import ROWS, ROWS_ARGV
from failover.ledger import Ledger, compare, parse_rows
from tests.lab.citizens_on_lab import applying
from tests.lab.estate_on_lab import Hosts, govcloud, primary, until_well

pytestmark = pytest.mark.lab

LONGEST_OUTAGE_S = 40
"""The objective of the estate: Patroni's time to live of 20 s, and as much again."""
LONGEST_READ_OUTAGE_S = 10
"""Reads need no primary, only a way to a city that lives. That their objective of 2 s is missed tells the drill; beyond
this they did not move by themselves."""
LONGEST_START_S = 60
"""From the power's return until the city's own pods answer."""


@pytest.mark.parametrize("site", ["futian", "nanshan", pytest.param("shaoguan", marks=pytest.mark.nightly)])
def test_a_site_is_lost_and_regained_with_no_acknowledged_row_lost(hosts: Hosts, site: str) -> None:
    """Service returns without help; nothing is lost or there twice; all is well at the end."""
    done = govcloud("drill", "run", "site-loss", "--site", site, "--yes", "--json")
    assert done.stdout, done.stderr
    report = done.report
    measured = report["measured"]
    assert (measured["lost"], measured["duplicated"], measured["appeared"]) == (0, 0, 0), done.stderr
    assert measured["acknowledged"] > 500
    assert measured["write_outage_s"] <= LONGEST_OUTAGE_S
    missed = {reason["code"] for reason in report["reasons"]}
    assert measured["read_outage_s"] <= LONGEST_READ_OUTAGE_S
    assert ("read_outage" in missed) == (measured["read_outage_s"] > report["objectives"]["read_outage_s"])
    assert measured["recovery_s"] is not None, report["remaining"]
    told = any(line["event"] == f"the pods of {site} serve again" for line in report["timeline"])
    assert told == (measured["pods_serving_s"] is not None)
    assert (measured["pods_serving_s"] or 0) <= LONGEST_START_S
    assert report["verdict"] in ("pass", "objective-missed"), report["reasons"]
    page = Path(report["report"])
    assert page.is_file()
    assert (page.parent / "report.zh.html").is_file()
    assert json.loads((page.parent / "report.json").read_text(encoding="utf-8"))["id"] == report["id"]


def rows_of(hosts: Hosts, before: str = "", after: str = "") -> str:
    """The database's rows, as the drill reads them, between two pieces of SQL of the same session."""
    argv = hosts.lab.shell_argv(primary(), ROWS_ARGV)
    return subprocess.run(
        argv, input=f"{before}{ROWS};{after}", capture_output=True, text=True, check=True, timeout=60
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
"""A transaction in which one key has two rows, for nothing else than its end keeps them apart: what it drops is back as
soon as the session ends, however it ends."""


@pytest.fixture
def ledger(hosts: Hosts) -> Ledger:
    """Of a load on the running estate, ten seconds long."""
    with applying(hosts) as load:
        pass
    assert load.ledger
    return load.ledger


def test_a_row_deleted_and_a_row_doubled_behind_the_ledgers_back_are_found(hosts: Hosts, ledger: Ledger) -> None:
    """The comparison is with the real database: a load's ledger against its rows, whole and damaged."""
    text = rows_of(hosts)
    whole = compare(ledger, parse_rows(text))
    assert (list(whole.lost), list(whole.duplicated)) == ([], [])
    acknowledged = {entry.key for entry in ledger.of("write") if entry.first_acknowledged}
    key = next(found for line in reversed(text.splitlines()) if (found := line.split(",")[0]) in acknowledged)
    host = primary()
    damage = (
        "SET session_replication_role = replica; "
        f"CREATE TABLE public.kept AS SELECT * FROM approval.application WHERE key = '{key}'; "
        f"DELETE FROM approval.application WHERE key = '{key}';"
    )
    mend = (
        "SET session_replication_role = replica; "
        "INSERT INTO approval.application OVERRIDING SYSTEM VALUE SELECT * FROM public.kept; DROP TABLE public.kept;"
    )
    sql = ("runuser", "-u", "postgres", "--", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "approval", "-c")
    hosts.run(host, *sql, damage)
    try:
        assert [v.key for v in compare(ledger, parse_rows(rows_of(hosts))).lost] == [key]
    finally:
        hosts.run(host, *sql, mend)
    assert not compare(ledger, parse_rows(rows_of(hosts))).lost
    doubled = parse_rows(rows_of(hosts, DOUBLE.format(key=key), "ROLLBACK;"))
    assert [v.key for v in compare(ledger, doubled).duplicated] == [key]
    assert compare(ledger, parse_rows(rows_of(hosts))).clean


def test_the_primary_moves_as_planned(hosts: Hosts) -> None:
    """`switchover` shows its plan, then acts; to the remote site it is refused (6)."""
    assert govcloud("switchover", "--to", "shaoguan").code == 6
    here = primary("site")
    there = "nanshan" if here == "futian" else "futian"
    planned = govcloud("switchover", "--to", there)
    assert planned.code == 0, planned.stderr
    moved = govcloud("switchover", "--to", there, "--apply")
    assert moved.code == 0, moved.stderr
    until_well(90)
    assert primary("site") == there
