"""The figures of a result as JSON: `report.json`, and what `drill run --json` prints."""

from __future__ import annotations

from typing import Any

from failover.ledger.metrics import Interval, Latency
from failover.report.messages import event_text
from failover.result import DrillResult


def as_json(result: DrillResult) -> dict[str, Any]:
    """Return the object of `--json`: the documented fields and more."""
    f, c = result.evidence.metrics, result.evidence.comparison
    measured = {
        "rate_per_s": result.rate_per_s, "acknowledged": f.acknowledged, "refused": f.refused, "unknown": f.unknown,
        "lost": len(c.lost), "duplicated": len(c.duplicated), "appeared": len(c.appeared),
        "unknown_present": c.unknown_present, "unknown_absent": c.unknown_absent,
        "write_outage_s": f.write_outage_s, "read_outage_s": f.read_outage_s, "recovery_s": result.recovery_s,
        "availability": round(f.availability, 6), "availability_writes": round(f.availability_writes, 6),
        "availability_reads": round(f.availability_reads, 6), "write_silence_s": f.write_silence_s,
        "write_outage_by_family_s": {f"ipv{k}": v for k, v in f.write_outage_by_family.items()},
        "read_outage_by_family_s": {f"ipv{k}": v for k, v in f.read_outage_by_family.items()},
        "reads": f.reads, "reads_failed": f.reads_failed, "reads_stale": f.reads_stale, "retried": f.retried,
        "not_sent": f.not_sent, "duration_s": f.duration_s, "write_latency_ms": _latency(f.write_latency),
        "read_latency_ms": _latency(f.read_latency), "lateness_p99_ms": f.lateness_p99_ms,
        "writes_after_heal": _interval(result.after_heal),
    }  # fmt: skip
    if result.site is not None:
        measured |= {"pods_serving_s": result.pods_serving_s, "return_of_power": _interval(result.after_heal)}
    promised = result.objectives
    return {
        "id": result.id, "scenario": result.scenario, "site": result.site, "target": result.target,
        "verdict": result.verdict.value,
        "objectives": {
            "rto_s": promised.rto_s, "rpo_records": promised.rpo_records, "read_outage_s": promised.read_outage_s,
        },
        "measured": measured,
        "reasons": [{"code": r.code, "measured": r.measured, "promised": r.promised, "detail": r.detail}
                    for r in result.reasons],
        "timeline": [{"at_s": result.at_s(e.wall), "event": event_text(e, "en"), "source": e.source}
                     for e in sorted(result.events, key=lambda e: e.wall)],
        "violations": [{"key": v.key, "what": v.what} for v in (*c.lost, *c.duplicated, *c.appeared)][:100],
        "remaining": [str(problem) for problem in result.remaining], "report": result.report,
    }  # fmt: skip


def _latency(latency: Latency) -> dict[str, float | None]:
    return {"p50": latency.p50_ms, "p95": latency.p95_ms, "p99": latency.p99_ms, "max": latency.max_ms}


def _interval(writes: Interval | None) -> dict[str, float] | None:
    if writes is None:
        return None
    return {"writes": writes.due, "writes_failed_at_first": writes.failed, "write_outage_s": writes.outage_s}
