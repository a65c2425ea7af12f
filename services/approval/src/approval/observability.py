"""Metrics and structured logs. They never contain a name or an identity number."""

import json
import logging
import sys
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

BUCKETS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0)


class Metrics:
    """The service's metrics in a registry of their own."""

    def __init__(self, site: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "approval_requests", "Requests answered.", ("route", "status", "code"), registry=self.registry
        )
        self.seconds = Histogram(
            "approval_request_seconds", "Time to the answer.", ("route",), buckets=BUCKETS, registry=self.registry
        )
        self.decision_seconds = Histogram(
            "approval_decision_seconds",
            "Time to read the registers and apply the rules, without the wait for a connection.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.decisions = Counter(
            "approval_decisions", "Decisions made.", ("decision", "reason", "synthetic"), registry=self.registry
        )
        self.writable = Gauge(
            "approval_writable", "1 if this site's last heartbeat was recent.", registry=self.registry
        )
        self.read_age = Gauge("approval_read_age_seconds", "Age of the local copy; -1 unknown.", registry=self.registry)
        self.connections = Gauge(
            "approval_connections", "Database connections in use.", ("pool",), registry=self.registry
        )
        Gauge("approval_site", "The site this instance serves.", ("site",), registry=self.registry).labels(site).set(1)


class LabelledRegistry:
    """A registry that adds the name of the instance to its metrics.

    Several instances share one address, so successive scrapes may reach different ones.
    """

    def __init__(self, registry: CollectorRegistry, instance: str) -> None:
        self._registry, self._instance = registry, instance

    def collect(self) -> Iterator[Metric]:
        """Yield the registry's metrics. Each sample has the label `pod` if the instance has a name."""
        for metric in self._registry.collect():
            if self._instance:
                metric.samples = [
                    sample._replace(labels={**sample.labels, "pod": self._instance}) for sample in metric.samples
                ]
            yield metric


class JsonLines(logging.Formatter):
    """Formatter with one JSON object per line. It merges the members of `extra={"fields": {...}}` into the object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "at": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_json(level: int = logging.INFO) -> None:
    """Write all logs of the process to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def reason_of(error: BaseException) -> str:
    """Return the reason of an error for a log. Only the first line: the details of a database error name the row."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
