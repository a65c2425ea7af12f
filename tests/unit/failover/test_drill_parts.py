"""Parts of the drills: the check for served citizens, the blast radius, the load generator's files and schedule."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from estate.loader import load
from failover import vantage
from failover.drills import DRILLS, blast_radius, get
from failover.drills.context import served
from failover.load_generator.schedule import Backoff, idempotency_key, scheduled_requests
from failover.measured_service import measured_service
from tests.unit.failover import ledger_builder as make
from tests.unit.failover.observations import ESTATE


def tail(good_from: float, until: float = 20.0) -> str:
    """Return a ledger's tail in which every write sent before `good_from` failed."""
    lines = []
    for n in range(int(until * 20)):
        at = n * 0.05
        lines.append(make.write(n, [make.ok(at) if at >= good_from else make.no_primary(at)]))
        lines.append(make.read(n, [make.ok(at)]))
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_citizens_count_as_served_if_all_requests_of_the_last_seconds_succeeded() -> None:
    assert served(tail(good_from=10), since_s=5, for_s=3, rate_per_s=20) == ""
    failing = served(tail(good_from=17), since_s=5, for_s=3, rate_per_s=20)
    assert failing == "40 of 60 writes in the last 3 s succeeded (20 × 503 no_primary)"


def test_requests_sent_before_the_injection_do_not_count() -> None:
    assert "too little time" in served(tail(good_from=0), since_s=17, for_s=3, rate_per_s=20)


def test_one_failed_read_is_enough_to_wait_longer() -> None:
    spoilt = tail(good_from=0) + json.dumps(make.read(340, [make.silence(17.025)])) + "\n"
    assert "reads" in served(spoilt, since_s=5, for_s=3, rate_per_s=20)


def test_an_empty_or_cut_tail_is_not_served() -> None:
    assert served("", since_s=0, for_s=3, rate_per_s=20)
    assert served('{"kind":"wri', since_s=0, for_s=3, rate_per_s=20)
    assert served(tail(good_from=0)[150:-20], since_s=5, for_s=3, rate_per_s=20) == "", "cut lines are skipped"


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("site", ["futian", "nanshan", "shaoguan"])
def test_the_blast_radius_names_every_host_and_link(site: str, lang: str) -> None:
    fault = get("site-loss").fault(ESTATE, site)
    radius = fault.blast_radius(ESTATE)
    text = blast_radius.text(radius, fault.words, lang)
    assert radius.majority_stays
    assert all(name in text for name in (*radius.hosts, *radius.links))
    assert len(radius.hosts) == 4
    assert "{" not in text


def test_every_drill_is_found_by_its_name() -> None:
    assert [get(drill.name) for drill in DRILLS] == list(DRILLS)


def test_the_load_generators_files_are_complete_and_pack_to_the_same_bytes() -> None:
    files = vantage.source_files(measured_service(load())[0])
    assert {
        "load_generator/__main__.py",
        "load_generator/open_loop.py",
        "synthetic_client.py",
        "approval/people.py",
        "approval/__init__.py",
    } <= files.keys()
    archived = vantage.tar_archive(files)
    assert archived == vantage.tar_archive(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        assert set(archive.getnames()) == files.keys()


def test_the_schedule_alternates_families_and_never_depends_on_answers() -> None:
    due = list(scheduled_requests(20, read_after_s=1, limit_s=10, families=(4, 6)))
    writes = [d for d in due if d.kind == "write"]
    assert [d.scheduled_us for d in writes] == [n * 50_000 for n in range(200)]
    assert [d.family for d in writes[:4]] == [4, 6, 4, 6]
    reads = [d for d in due if d.kind == "read"]
    assert reads[0].scheduled_us == 1_025_000
    assert len(reads) == 180
    assert [d.scheduled_us for d in due] == sorted(d.scheduled_us for d in due)
    alone = list(scheduled_requests(20, read_after_s=1, limit_s=10, families=(4, 6), reads=False))
    assert alone == writes


def test_keys_depend_on_seed_and_number_alone() -> None:
    assert idempotency_key(1, 7) == idempotency_key(1, 7)
    assert len({idempotency_key(seed, n) for seed in range(10) for n in range(200)}) == 2000


def test_pauses_grow_to_a_limit_and_honour_retry_after() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_s(n, 1.0) for n in range(1, 9)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == backoff.longest_s
    assert backoff.pause_s(1, 1.0, asked_s=1) == 1
    assert backoff.pause_s(1, 1.0, asked_s=3600) == backoff.longest_s
