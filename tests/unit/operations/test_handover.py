"""`bench messages`: decisions and the carrier's record are matched, and no real carrier ever gets a test message."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from approval.application import parse as parse_application
from approval.store import is_suppressed

from contracts import loader
from estate.loader import load
from estate.model import Estate
from failover.ledger import Unreadable, parse
from failover.vantage import Endpoint, LoadProfile, arguments
from operations.benchmarks import handover as bench
from operations.benchmarks import runs
from operations.benchmarks.handover import Arrival, Decision, Handovers, match
from playbooks.render import carrier
from tests.unit.failover import ledger_builder as make
from tests.unit.failover.test_journal import Clock
from workstation.errors import GovcloudError, Refused

ESTATE = load()
NAME = "messages"
DECIDED_S = 1_800_000_000.0


def decision(n: int, *, message: str | None = None, pending: bool = False) -> Decision:
    """Return decision `n`, made `n` seconds after the first one, with the message `m<n>`."""
    name = f"m{n}" if message is None else message
    return Decision(key=make.key(n), message=name, decided_s=DECIDED_S + n, pending=pending)


def arrival(n: int, after_s: float) -> Arrival:
    """Return the arrival of message `m<n>`, some seconds after its decision."""
    return Arrival(message=f"m{n}", at_s=DECIDED_S + n + after_s)


def keys(count: int) -> set[str]:
    """Return the keys of the first `count` decisions."""
    return {make.key(n) for n in range(count)}


def matched(decisions: Iterable[Decision], arrivals: Iterable[Arrival], count: int) -> dict[str, Any]:
    """Return the figures of a run with the first `count` keys."""
    return bench.figures(match(decisions, arrivals, keys(count)))


def test_a_handover_lasts_from_the_decision_to_the_first_arrival() -> None:
    """Percentiles are by nearest rank, so the p99 of 100 messages is the second slowest."""
    arrivals = [arrival(n, (n + 1) / 100) for n in range(100)]
    found = matched(map(decision, range(100)), reversed(arrivals), 100)
    outliers = found.pop("outliers")
    assert found == {
        "decided": 100, "accepted": 100, "missing": 0, "repeated": 0, "pending": 0,
        "handover_p50_ms": 500.0, "handover_p99_ms": 990.0, "handover_max_ms": 1000.0,
    }  # fmt: skip
    assert [outlier["handover_ms"] for outlier in outliers] == [1000.0 - 10 * n for n in range(20)]


def test_a_decision_without_a_message_at_the_carrier_is_missing() -> None:
    """It is suppressed, not taken over, or taken over and not accepted. All three are named first."""
    decisions = [decision(0), decision(1, message="", pending=True), decision(2, pending=True), decision(3, message="")]
    found = matched(decisions, [arrival(0, 0.5)], 4)
    assert (found["decided"], found["accepted"], found["missing"], found["pending"]) == (4, 1, 3, 2)
    assert found["handover_max_ms"] == 500.0
    outliers = [(outlier["key"], outlier["handover_ms"]) for outlier in found["outliers"]]
    assert outliers == [(make.key(1), None), (make.key(2), None), (make.key(3), None), (make.key(0), 500.0)]


def test_a_second_message_about_a_decision_is_repeated_under_the_same_or_another_id() -> None:
    """The citizen reads it twice in both cases. The first arrival counts for the handover."""
    decisions = [decision(0), decision(1), decision(1, message="another")]
    arrivals = [arrival(0, 3.0), arrival(0, 0.25), arrival(0, 9.0), arrival(1, 0.5)]
    found = matched(decisions, [*arrivals, Arrival(message="another", at_s=DECIDED_S + 2)], 2)
    assert (found["decided"], found["missing"], found["repeated"]) == (2, 0, 3)
    assert (found["handover_p50_ms"], found["handover_max_ms"]) == (250.0, 500.0)


def test_decisions_and_messages_of_other_runs_do_not_count() -> None:
    found = matched([decision(0), decision(7)], [arrival(0, 0.1), arrival(7, 60.0), arrival(8, 60.0)], 1)
    assert (found["decided"], found["accepted"], found["handover_max_ms"]) == (1, 1, 100.0)


def test_without_a_message_at_the_carrier_there_is_no_percentile() -> None:
    """A figure is a number, so it is absent and not null."""
    found = matched([decision(0)], [arrival(1, 0.1)], 2)
    assert (found["decided"], found["missing"]) == (1, 1)
    assert not [figure for figure in found if figure.startswith("handover")]


def test_rows_and_record_are_read_as_psql_and_the_simulator_write_them() -> None:
    rows = f"key,message,decided_s,pending\nk1,m1,{DECIDED_S}25,f\nk2,,{DECIDED_S},t\n"
    first, second = bench.parse_decisions(rows)
    assert (first.message, first.decided_s, first.pending) == ("m1", DECIDED_S + 0.025, False)
    assert (second.message, second.pending) == ("", True)
    entry = {"kind": "accepted", "number": 1, "at": DECIDED_S, "message_id": "m1", "to": "+86", "text": "\u2028\x85"}
    line = json.dumps(entry, ensure_ascii=False)
    assert bench.parse_arrivals(f"{line}\n{line}\n") == (Arrival(message="m1", at_s=DECIDED_S),) * 2


@pytest.mark.parametrize("rows", ["", "key,message\n", "key,message,decided_s,pending\nk1,m1,soon,f\n"])
def test_other_rows_are_refused(rows: str) -> None:
    with pytest.raises(Unreadable, match="the rows of the messages"):
        bench.parse_decisions(rows)


def handovers(pending: int) -> Handovers:
    """Return handovers with this number of pending messages."""
    return match([decision(n, pending=True) for n in range(pending)], [], keys(pending))


def test_the_figures_are_those_after_the_last_pending_message() -> None:
    """Until then a message may still arrive, or arrive again."""
    observed = iter([handovers(2), handovers(1), handovers(0)])
    assert bench.settled(lambda: next(observed), Clock()).pending == 0


def test_messages_that_stay_pending_end_the_wait() -> None:
    clock = Clock()
    assert bench.settled(lambda: handovers(1), clock).pending == 1
    assert clock.monotonic() >= bench.SETTLED_WITHIN_S


class Machines:
    """Answers for the simulator and for the primary."""

    def __init__(self, mode: str = "normal", returncode: int = 0) -> None:
        self.mode, self.returncode = mode, returncode

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Any:
        """Return the document at the last argument's path, or the rows."""
        if argv[0] != "curl":
            rows = [f"{make.key(n)},m{n},{DECIDED_S + n},f\n" for n in range(3)]
            return SimpleNamespace(returncode=0, stdout="".join(["key,message,decided_s,pending\n", *rows]).encode())
        assert host == "province-cloud1"
        entries = [{"message_id": f"m{n}", "at": DECIDED_S + n + 0.125} for n in (0, 1)]
        text = {
            f"http://{carrier.CONTROL}/stats": json.dumps({"mode": self.mode}),
            f"http://{carrier.CONTROL}/accepted": "".join(json.dumps(entry) + "\n" for entry in entries),
        }[argv[-1]]
        return SimpleNamespace(returncode=self.returncode, stdout=text.encode(), stderr=b"curl: (7) refused")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[LoadProfile]:
    """The loads that were sent. Machines, primary and load generator are fakes."""
    loads: list[LoadProfile] = []

    def send(estate: Estate, load: LoadProfile, act: Callable[..., None]) -> Any:
        loads.append(load)
        return parse(make.text(*make.writes(3, lambda n, at: [make.ok(at)])))

    monkeypatch.setattr("operations.adapters.machines", lambda estate: Machines())
    monkeypatch.setattr("operations.adapters.observer", lambda estate: SimpleNamespace(snapshot=snapshot))
    monkeypatch.setattr("operations.benchmarks.load_test.send", send)
    monkeypatch.setattr("operations.benchmarks.load_test.evaluated", lambda *given: {"acknowledged": 3})
    return loads


def snapshot() -> Any:
    """Return an observation with a primary."""
    return SimpleNamespace(primary=SimpleNamespace(host="futian-data1"))


def test_a_run_has_its_figures_and_the_goals_of_the_estate(sent: list[LoadProfile]) -> None:
    value = bench.handover(ESTATE, NAME, runs.load_profile(NAME, rate=None, seconds=None, reads=True))
    assert sent == [LoadProfile(rate_per_s=20, limit_s=60, reads=False, recipients=True)]
    assert {key: value[key] for key in ("acknowledged", "decided", "accepted", "missing", "handover_p99_ms")} == {
        "acknowledged": 3, "decided": 3, "accepted": 2, "missing": 1, "handover_p99_ms": 125.0,
    }  # fmt: skip
    assert value["outliers"][0] == {"key": make.key(2), "decided_s": DECIDED_S + 2, "handover_ms": None}
    assert runs.goals(value) == {
        "missing": {"at_most": 0, "newest": 1, "met": False},
        "repeated": {"at_most": 0, "newest": 0, "met": True},
        "handover_p99_ms": {"at_most": 2000, "newest": 125.0, "met": True},
    }


def test_a_run_without_any_handover_misses_its_goal() -> None:
    """No message is not a fast message."""
    assert not runs.goals({"goals": {"handover_p99_ms": 2000}})["handover_p99_ms"]["met"]


@pytest.mark.parametrize("declared", [{}, {"url": "https://carrier.example"}, {"simulated_on": "province-cloud1"}])
def test_without_a_test_population_nothing_is_sent(sent: list[LoadProfile], declared: dict[str, str]) -> None:
    """A real carrier never gets a message to a synthetic person."""
    found = ESTATE.carrier.model_copy(update={"url": None, "simulated_on": None, "deliver_synthetic": None, **declared})  # type: ignore[union-attr]
    estate = ESTATE.model_copy(update={"carrier": found if declared else None})
    with pytest.raises(Refused, match="no carrier with a test population"):
        bench.handover(estate, NAME, LoadProfile(recipients=True))
    assert sent == []


@pytest.mark.parametrize(
    ("machines", "reason"), [(Machines("slow"), "is in the mode 'slow'"), (Machines(returncode=7), "does not answer")]
)
def test_a_simulator_that_does_not_work_normally_is_refused(
    sent: list[LoadProfile], monkeypatch: pytest.MonkeyPatch, machines: Machines, reason: str
) -> None:
    """A lab test may have left it in another mode. Its figures would not be those of the service."""
    monkeypatch.setattr("operations.adapters.machines", lambda estate: machines)
    with pytest.raises(GovcloudError, match=reason) as caught:
        bench.handover(ESTATE, NAME, LoadProfile(recipients=True))
    assert "on it: " in caught.value.next_step
    assert sent == []


def test_a_service_has_the_bench_if_its_contract_says_how_to_follow_its_messages() -> None:
    assert runs.names(ESTATE) == ("approvals", "messages", "provider", "rollout", "unchanged")
    without = tuple(service for service in ESTATE.services if service.name != NAME)
    assert runs.names(ESTATE.model_copy(update={"services": without})) == runs.NAMES


def test_only_this_bench_sends_recipients() -> None:
    """Drills and the other benches stay comparable with their earlier runs."""
    endpoint = Endpoint(name="approval", port=443, ipv4="203.0.113.10", ipv6="2001:db8:113::10", ca=b"")

    def sends(load: LoadProfile) -> bool:
        return "--recipients" in arguments(estate=ESTATE, endpoint=endpoint, load=load, seed=1)

    assert sends(runs.load_profile(NAME, rate=None, seconds=None, reads=False))
    assert not sends(LoadProfile())
    for name in runs.NAMES:
        assert not sends(runs.load_profile(name, rate=None, seconds=None, reads=True))


def test_the_synthetic_client_has_a_recipient_of_the_estates_test_population() -> None:
    """Otherwise the service would suppress the messages, and all would be missing."""
    client = runpy.run_path(str(loader.folder("approval") / "synthetic" / "client.py"))
    today = date(2026, 12, 1)
    population = carrier.population(ESTATE)
    numbers = set()
    for n in (0, 1, 99_999):
        form = client["body_with_recipient"](1, n)
        application = parse_application(json.dumps(form).encode(), today)
        assert not is_suppressed(application, population)
        numbers.add(application.mobile)
        assert {key: value for key, value in form.items() if key != "mobile"} == client["body"](1, n)
    assert len(numbers) == 3
