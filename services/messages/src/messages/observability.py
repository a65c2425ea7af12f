"""Metrics and structured logs. They never contain a mobile number or the text of a message."""

import json
import logging
import sys
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

BUCKETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 60.0, 600.0, 3600.0)


class Metrics:
    """The service's metrics in a registry of their own."""

    def __init__(self, site: str) -> None:
        self.registry = registry = CollectorRegistry()
        self.attempts = Counter(
            "messages_attempts", "Attempts to send, by result.", ("state", "reason"), registry=registry
        )
        self.suppressed = Counter(
            "messages_suppressed", "Messages that are never sent, by reason.", ("reason",), registry=registry
        )
        self.receipts = Counter("messages_receipts", "Receipts by meaning.", ("meaning",), registry=registry)
        self.unconfirmed = Counter(
            "messages_unconfirmed", "Claims without a copy at a second site; nothing was sent.", registry=registry
        )
        self.expired = Counter("messages_expired", "Messages that the carrier never accepted.", registry=registry)
        self.handover = Histogram(
            "messages_handover_seconds",
            "Time from the decision until the carrier has accepted its message.",
            buckets=BUCKETS,
            registry=registry,
        )
        self.queue = Gauge("messages_queue", "Messages that wait, by place.", ("place",), registry=registry)
        self.queue_age = Gauge("messages_queue_age_seconds", "Age of the oldest waiting message.", registry=registry)
        self.without_receipt = Gauge(
            "messages_without_receipt", "Sent messages without a receipt after an hour.", registry=registry
        )
        self.carrier_down = Gauge("messages_carrier_down", "1 while the carrier counts as down.", registry=registry)
        self.in_flight = Gauge("messages_in_flight", "Attempts that run now.", registry=registry)
        self.connected = Gauge("messages_store_seconds", "Time since the last confirmed poll.", registry=registry)
        Gauge("messages_site", "The site this instance serves.", ("site",), registry=registry).labels(site).set(1)


class LabelledRegistry:
    """A registry that adds the name of the instance to its metrics, because instances share one address."""

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
