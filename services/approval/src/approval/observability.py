"""Metrics and structured logs. Neither ever holds a name or an identity number."""

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
            "From having a connection to the decision: the registers read, the rules applied.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.decisions = Counter(
            "approval_decisions", "Decisions made.", ("decision", "reason", "synthetic"), registry=self.registry
        )
        self.writable = Gauge(
            "approval_writable", "1 if this site's heartbeat got through lately.", registry=self.registry
        )
        self.read_age = Gauge("approval_read_age_seconds", "Age of the local copy; -1 unknown.", registry=self.registry)
        self.connections = Gauge(
            "approval_connections", "Database connections in use.", ("pool",), registry=self.registry
        )
        Gauge("approval_site", "The site this instance serves.", ("site",), registry=self.registry).labels(site).set(1)


class LabelledRegistry:
    """A registry whose figures say of which instance they are: several stand behind one address, and a reader meets now
    one and now another."""

    def __init__(self, registry: CollectorRegistry, instance: str) -> None:
        self._registry, self._instance = registry, instance

    def collect(self) -> Iterator[Metric]:
        """The registry's metrics, each sample with the label `pod`; without one where the instance has no name."""
        for metric in self._registry.collect():
            if self._instance:
                metric.samples = [
                    sample._replace(labels={**sample.labels, "pod": self._instance}) for sample in metric.samples
                ]
            yield metric


class JsonLines(logging.Formatter):
    """One JSON object per line; members given as `extra={"fields": {...}}` are merged in."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
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
    """Sends all logs of the process to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
