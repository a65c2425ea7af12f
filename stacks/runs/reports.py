"""What runs of the engine answer: changes with the very lines that differ, drift by host, results of an update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SIGNS = {"create": "+", "update": "~", "delete": "-", "replace": "±"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that is, or would be, changed. `op` is create, update, delete or replace.

    `host` is empty where the resource is no host. `details` are one line each; `diffs` are unified diffs by file, of
    files that are not secret.
    """

    stack: str
    op: str
    resource: str
    host: str = ""
    details: tuple[str, ...] = ()
    diffs: Mapping[str, str] = field(default_factory=dict)
    guarded: bool = False
    seconds: float | None = None
    """From the step's begin to its end; None where it was only planned."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Change:
        """Back from JSON."""
        return cls(**{**value, "details": tuple(value["details"])})

    def as_text(self) -> str:
        """For people: a heading, then what differs."""
        lines = [f"{SIGNS[self.op]} {self.stack}: {self.op} {self.host or self.resource}"]
        lines += [f"    {detail}" for detail in self.details]
        for diff in self.diffs.values():
            lines += [f"    {line}" for line in diff.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What an update would do. `changes` is empty where the estate is as declared."""

    changes: tuple[Change, ...]
    seconds: float
    deferred: tuple[str, ...] = ()
    """Hosts left out by `--without`, of which nothing is known."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "changes": [asdict(change) for change in self.changes],
            "seconds": round(self.seconds, 1),
            "deferred": list(self.deferred),
        }

    def as_text(self) -> str:
        """For people."""
        if not self.changes:
            return "nothing to change: " + ("what is left is" if self.deferred else "the estate is") + " as declared"
        return "\n".join([*(change.as_text() for change in self.changes), f"{len(self.changes)} change(s)"])


@dataclass(frozen=True, kw_only=True)
class UpResult:
    """What an update did: `changes` is the number of resources changed, 0 for an unchanged estate."""

    changes: int
    seconds: float
    hosts_changed: tuple[str, ...]
    stacks: Mapping[str, int]
    """Changes by stack."""
    stack_seconds: Mapping[str, float]
    """From the start of each stack's worker to its end. Those of one phase work side by side, so the sum is more than
    `seconds`."""
    host_seconds: Mapping[str, Mapping[str, float]]
    """By stack, what each changed host took; a Kubernetes node's includes the wait until it is Ready."""
    deferred: tuple[str, ...] = ()
    """Hosts left out by `--without`; the next update without it catches up."""
    objects_changed: tuple[str, ...] = ()
    """What the platform has changed: images and Kubernetes objects, with their sites."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        hosts = {stack: _rounded(took) for stack, took in self.host_seconds.items()}
        return {
            **asdict(self),
            "seconds": round(self.seconds, 1),
            "stack_seconds": _rounded(self.stack_seconds),
            "host_seconds": hosts,
        }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in seconds.items()}


@dataclass(frozen=True, kw_only=True)
class DriftResult:
    """What hosts and clusters have that was not applied: texts by host or object; empty where all are as applied."""

    differences: Mapping[str, tuple[str, ...]]
    seconds: float
    deferred: tuple[str, ...] = ()
    """Hosts left out by `--without`, which were not compared."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "differences": {host: list(found) for host, found in self.differences.items()},
            "seconds": round(self.seconds, 1),
            "deferred": list(self.deferred),
        }

    def as_text(self) -> str:
        """For people."""
        if not self.differences:
            return "no drift: all that was compared is as applied"
        lines = []
        for host, found in self.differences.items():
            lines.append(f"{host}:")
            lines += [f"    {line}" for text in found for line in text.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class DestroyResult:
    """Whose management has ended. Hosts keep everything."""

    stacks: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"destroyed": list(self.stacks), "seconds": round(self.seconds, 1)}
