"""A realistic finished drill: 21.3 s write outage and 0.8 s read outage in 85 s of measurement.

The figures are those of a lost site. `of_fault` returns the same figures for another drill's fault.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from estate.loader import load
from failover.drills import get
from failover.drills.fault import Fault
from failover.ledger import Ledger, compare, compute_metrics, parse, parse_rows
from failover.result import DrillResult, Event, Evidence
from tests.unit.failover import ledger_builder as make

START = 1_760_000_000.0
LOST_AT, WRITES_BACK, READS_BACK, POWER_BACK, PODS, HEALTHY, END = 8.0, 29.3, 8.8, 46.0, 61.2, 71.5, 85.0
ESTATE = load()
SITE = get("site-loss").fault(ESTATE, "futian")


def ledger(seed: int = 1) -> Ledger:
    """Return a ledger with timeouts until the routes have moved, refusals until there is a new primary, and some slow
    answers after the outage."""
    chance = random.Random(seed)
    lines = []
    for n in range(int(END * 20)):
        at = n * 0.05
        quick = 0.012 + chance.expovariate(120)
        if LOST_AT <= at < READS_BACK:
            attempts = [make.silence(at), make.ok(WRITES_BACK + 0.4 + chance.random() * 8)]
        elif READS_BACK <= at < WRITES_BACK:
            attempts = [make.no_primary(at), make.ok(WRITES_BACK + 0.4 + chance.random() * 10)]
        else:
            slow = chance.random() * 0.5 if WRITES_BACK <= at < WRITES_BACK + 4 else 0.0
            attempts = [make.ok(at, after_s=quick + slow)]
        lines.append(make.write(n, attempts))
        if n >= 40:
            due = (n + 0.5) * 0.05
            failed = LOST_AT <= due < READS_BACK
            answer = make.silence(due) if failed else make.ok(due, after_s=0.006 + chance.expovariate(300))
            lines.append({**make.read(n - 40, [answer]), "scheduled_s": due})
    text = make.text(*lines)
    return parse(text.replace('"seed": 1', '"seed": 1, "timeout_s": 2.0, "deadline_s": 90.0'))


def result(*, spoil: bool = False, slow: bool = False, **changes: Any) -> DrillResult:
    """Return the result. `spoil` deletes rows and duplicates one. `slow` lowers the promised outage below the measured
    one."""
    book = ledger()
    rows = [(make.key(e.n), make.digest(e.n), "approved") for e in book.of("write")]
    if spoil:
        rows = [*rows[:40], *rows[43:], rows[0]]
    evidence = Evidence(
        ledger=book, metrics=compute_metrics(book), comparison=compare(book, parse_rows(make.csv_of(rows)))
    )
    promised = ESTATE.service("approval").objectives
    words = SITE.words
    timeline = [
        (-LOST_AT, "applicants_start", "drill", "20/s"), (0.0, "injected", "injector", "futian"),
        (1.2, "site_dark", "observer", "futian"), (1.3, "withdrawn", "observer", "futian"),
        (2.1, "primary_gone", "observer", "futian-data1"), (21.0, "primary_is", "observer", "nanshan-data1"),
        (21.6, "writable", "observer", "nanshan"), (25.4, "served_again", "applicant", ""),
        (38.0, "healed", "injector", "futian"), (47.0, "site_seen", "observer", "futian"),
        (53.2, "pods_serve", "observer", "futian"), (55.1, "announced", "observer", "futian"),
        (62.0, "streaming", "observer", "futian-data1"),
        (63.5, "all_healthy", "drill", ""), (77.5, "applicants_stop", "drill", ""),
    ]  # fmt: skip
    own = {"injected": words.injected, "healed": words.healed}
    events = [
        Event(wall=START + LOST_AT + at, code=c, source=s, subject=x, detail="2", text=own.get(c))
        for at, c, s, x in timeline
    ]
    values: dict[str, Any] = {
        "id": "20251009T085320-site-loss-futian", "scenario": "site-loss", "title": get("site-loss").title,
        "site": "futian", "target": "futian", "words": words, "estate": "shenzhen",
        "objectives": promised.model_copy(update={"rto_s": 15.0}) if slow else promised, "rate_per_s": 20.0,
        "started_wall": START - 5, "injected_wall": START + LOST_AT, "restored_wall": START + POWER_BACK,
        "served_wall": START + WRITES_BACK + 4, "healthy_wall": START + HEALTHY, "pods_wall": START + PODS,
        "remaining": (), "events": tuple(events), "evidence": evidence, "report": "report.zh.html",
    }  # fmt: skip
    return DrillResult(**{**values, **changes})


def of_fault(scenario: str, fault: Fault, **changes: Any) -> DrillResult:
    """Return the result of another drill: without a lost site, and with the words of its fault."""
    own = {"injected": fault.words.injected, "healed": fault.words.healed}
    events = tuple(
        replace(event, subject=fault.target, text=own[event.code]) if event.code in own else event
        for event in result().events
        if event.code not in ("site_dark", "site_seen", "pods_serve")
    )
    values = {"scenario": scenario, "title": get(scenario).title, "site": None, "target": fault.target,
              "words": fault.words, "events": events, "pods_wall": None}  # fmt: skip
    return result(**{**values, **changes})
