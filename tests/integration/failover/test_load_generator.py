"""The load generator with a real HTTPS server on loopback: its rate and its ledger stay correct under all faults."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from failover.ledger import Comparison, Ledger, Outcome, compare, compute_metrics, parse, parse_rows
from tests.integration.failover.conftest import RunningFakeService, make_authority
from tests.polling import until

Start = Callable[..., subprocess.Popen[str]]
StartFakeService = Callable[..., RunningFakeService]


def ledger_in(folder: Path) -> Ledger:
    return parse((folder / "ledger.jsonl").read_text(encoding="utf-8"))


def writes_so_far(folder: Path) -> int:
    path = folder / "ledger.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return len({line.split(",", 1)[0] for line in lines if '"write"' in line})


def against(ledger: Ledger, fake_service: RunningFakeService) -> Comparison:
    """Compare the ledger with the rows of the fake service."""
    tls = ssl.create_default_context(cafile=str(fake_service.authority.ca))
    tls.check_hostname = False
    with urllib.request.urlopen(f"https://127.0.0.1:{fake_service.port}/rows.csv", context=tls, timeout=10) as answer:
        return compare(ledger, parse_rows(answer.read().decode()))


def test_a_healthy_service_is_measured_as_healthy(fake_service: StartFakeService, apply: Start, folder: Path) -> None:
    running = fake_service()
    process = apply(running, "--limit", "3")
    assert process.wait(30) == 0
    ledger = ledger_in(folder)
    seen = compute_metrics(ledger)
    assert ledger.complete
    assert seen.acknowledged == 60
    assert seen.reads == 50
    assert (seen.write_outage_s, seen.read_outage_s, seen.availability) == (0.0, 0.0, 1.0)
    assert {e.family for e in ledger.entries} == {4, 6}
    assert all(a.digest == e.digest for e in ledger.of("write") for a in e.attempts), (
        "service and ledger agree on digests"
    )
    assert against(ledger, running).clean
    assert seen.lateness_p99_ms < 500


def test_a_service_stalled_for_five_seconds_is_still_sent_twenty_per_second(
    fake_service: StartFakeService, apply: Start, folder: Path
) -> None:
    running = fake_service()
    process = apply(running, "--limit", "9", "--timeout", "1")
    until("entries in the ledger", lambda: writes_so_far(folder) >= 30, 15)
    os.kill(running.process.pid, signal.SIGSTOP)
    stalled = time.time()
    time.sleep(5)  # the length of the stall is what this test is about
    os.kill(running.process.pid, signal.SIGCONT)
    assert process.wait(60) == 0
    ledger = ledger_in(folder)
    start = stalled - ledger.started_wall_s
    during = [e for e in ledger.of("write") if start + 0.2 <= e.attempts[0].sent_s < start + 4.8]
    assert len(during) == pytest.approx(4.6 * 20, abs=2)
    assert max(e.attempts[0].sent_s - e.scheduled_s for e in during) < 1, "a closed loop would be five seconds late"
    seen = compute_metrics(ledger)
    # Requests of the stall's last second are answered in time, if the machine has nothing else to do.
    assert 3.7 <= seen.write_outage_s <= 5.1
    assert seen.unknown == 0
    assert seen.acknowledged == 180
    assert against(ledger, running).clean


def test_refused_writes_are_retried_with_the_same_key_until_they_succeed(
    fake_service: StartFakeService, apply: Start, folder: Path
) -> None:
    running = fake_service({"from_s": 1.0, "to_s": 3.0, "do": "refuse"})
    process = apply(running, "--limit", "5")
    assert process.wait(60) == 0
    ledger = ledger_in(folder)
    seen = compute_metrics(ledger)
    assert seen.write_outage_s == pytest.approx(2.0, abs=0.11)
    assert seen.read_outage_s == 0.0
    assert (seen.acknowledged, seen.refused, seen.unknown) == (100, 0, 0)
    assert seen.retried == pytest.approx(40, abs=3)
    assert against(ledger, running).clean


def test_a_planted_lost_write_is_found(fake_service: StartFakeService, apply: Start, folder: Path) -> None:
    running = fake_service({"from_s": 1.0, "to_s": 1.3, "do": "lose"})
    process = apply(running, "--limit", "2")
    assert process.wait(30) == 0
    result = against(ledger_in(folder), running)
    assert len(result.lost) == pytest.approx(6, abs=1)


def test_after_kill_nine_the_ledger_is_readable_and_has_every_acknowledged_write(
    fake_service: StartFakeService, apply: Start, folder: Path
) -> None:
    running = fake_service()
    process = apply(running, "--limit", "60")
    until("entries in the ledger", lambda: writes_so_far(folder) >= 40, 15)
    process.kill()
    process.wait(10)
    ledger = ledger_in(folder)
    assert not ledger.complete
    assert compute_metrics(ledger).acknowledged >= 38
    result = against(ledger, running)
    assert result.clean
    known = {e.key for e in ledger.of("write")}
    assert len(known) >= 40


def test_the_sentinel_stops_it_after_its_open_requests(
    fake_service: StartFakeService, apply: Start, folder: Path
) -> None:
    running = fake_service({"from_s": 0.5, "to_s": 2.5, "do": "refuse"})
    process = apply(running, "--limit", "60")
    until("entries in the ledger", lambda: writes_so_far(folder) >= 30, 15)
    (folder / "stop").touch()
    assert process.wait(60) == 0
    ledger = ledger_in(folder)
    footer = json.loads((folder / "ledger.jsonl").read_text().splitlines()[-1])
    assert footer["reason"] == "sentinel"
    assert all(e.outcome is Outcome.ACKNOWLEDGED for e in ledger.of("write")), "retries must continue after the stop"


def test_sigterm_stops_it_normally(fake_service: StartFakeService, apply: Start, folder: Path) -> None:
    process = apply(fake_service(), "--limit", "60")
    until("entries in the ledger", lambda: writes_so_far(folder) >= 5, 15)
    process.terminate()
    assert process.wait(30) == 0
    assert ledger_in(folder).complete


def test_a_certificate_of_another_ca_is_no_answer(
    fake_service: StartFakeService, apply: Start, folder: Path, tmp_path: Path
) -> None:
    (folder / "ca.crt").write_bytes(make_authority(tmp_path / "other").ca.read_bytes())
    process = apply(fake_service(), "--limit", "1", "--deadline", "0.5")
    assert process.wait(30) == 0
    seen = compute_metrics(ledger_in(folder))
    assert (seen.acknowledged, seen.unknown) == (0, 20)


def test_a_certificate_for_another_name_is_no_answer(
    fake_service: StartFakeService, apply: Start, folder: Path
) -> None:
    process = apply(fake_service(), "--limit", "1", "--deadline", "0.5", name="other.test")
    assert process.wait(30) == 0
    ledger = ledger_in(folder)
    assert compute_metrics(ledger).acknowledged == 0
    assert all("certificate" in (a.error or "") for e in ledger.entries for a in e.attempts)


def test_requests_above_the_limit_of_open_ones_are_recorded_and_never_sent(
    fake_service: StartFakeService, apply: Start, folder: Path
) -> None:
    running = fake_service()
    os.kill(running.process.pid, signal.SIGSTOP)
    process = apply(running, "--limit", "2", "--in-flight", "10", "--deadline", "0.1", "--timeout", "5")
    code = process.wait(60)
    os.kill(running.process.pid, signal.SIGCONT)
    assert code == 0
    seen = compute_metrics(ledger_in(folder))
    assert seen.not_sent == 40 + 30 - 10
    assert seen.write_outage_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (["--rate", "0"], "--rate"),
        (["--limit", "1e9"], "--limit"),
        (["--people", "0"], "--people"),
        (["--timeout", "-1"], "--timeout"),
    ],
)
def test_wrong_figures_are_refused_before_the_first_request(
    fake_service: StartFakeService, apply: Start, folder: Path, options: list[str], cause: str
) -> None:
    process = apply(fake_service(), *options)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert cause in complaint
    assert "Traceback" not in complaint
    assert not (folder / "ledger.jsonl").exists()


def test_an_existing_ledger_is_never_overwritten(fake_service: StartFakeService, apply: Start, folder: Path) -> None:
    (folder / "ledger.jsonl").write_text("precious")
    process = apply(fake_service(), "--limit", "1")
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in complaint
    assert (folder / "ledger.jsonl").read_text() == "precious"
