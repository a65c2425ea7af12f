"""Results of engine runs: changes with the lines that differ, drift by host, and the result of an update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SIGNS = {"create": "+", "update": "~", "delete": "-", "replace": "±"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that is changed, or would be. `op` is create, update, delete or replace.

    `host` is empty if the resource is not a host. `details` are single lines. `diffs` are unified diffs by file path,
    of files that are not secret.
    """

    stack: str
    op: str
    resource: str
    host: str = ""
    details: tuple[str, ...] = ()
    diffs: Mapping[str, str] = field(default_factory=dict)
    guarded: bool = False
    seconds: float | None = None
    """From the start of the step to its end, or None if it was only planned."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Change:
        """Parse a change from JSON."""
        return cls(**{**value, "details": tuple(value["details"])})

    def as_text(self) -> str:
        """Return the text for the operator: a heading, then the differences."""
        lines = [f"{SIGNS[self.op]} {self.stack}: {self.op} {self.host or self.resource}"]
        lines += [f"    {detail}" for detail in self.details]
        for diff in self.diffs.values():
            lines += [f"    {line}" for line in diff.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What an update would do. `changes` is empty if the estate is as declared."""

    changes: tuple[Change, ...]
    seconds: float
    deferred: tuple[str, ...] = ()
    """Hosts excluded by `--without`. They were not compared."""

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return {
            "changes": [asdict(change) for change in self.changes],
            "seconds": round(self.seconds, 1),
            "deferred": list(self.deferred),
        }

    def as_text(self) -> str:
        """Return the text for the operator."""
        if not self.changes:
            return (
                "nothing to change: " + ("all other hosts are" if self.deferred else "the estate is") + " as declared"
            )
        return "\n".join([*(change.as_text() for change in self.changes), f"{len(self.changes)} change(s)"])


@dataclass(frozen=True, kw_only=True)
class UpResult:
    """What an update did. `changes` is the number of changed resources, 0 for an unchanged estate."""

    changes: int
    seconds: float
    hosts_changed: tuple[str, ...]
    stacks: Mapping[str, int]
    """Number of changes by stack."""
    stack_seconds: Mapping[str, float]
    """From the start of each stack's worker to its end.

    Stacks of one phase run in parallel, so the sum exceeds `seconds`.
    """
    host_seconds: Mapping[str, Mapping[str, float]]
    """Seconds of each changed host, by stack. A Kubernetes node's time includes the wait until it is Ready."""
    deferred: tuple[str, ...] = ()
    """Hosts excluded by `--without`. The next update without this option deploys them."""
    objects_changed: tuple[str, ...] = ()
    """Images and Kubernetes objects that the platform changed, with their sites."""

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
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
    """Differences between hosts or clusters and their applied configuration, by host or object.

    Empty if there are none.
    """

    differences: Mapping[str, tuple[str, ...]]
    seconds: float
    deferred: tuple[str, ...] = ()
    """Hosts excluded by `--without`. They were not compared."""

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return {
            "differences": {host: list(found) for host, found in self.differences.items()},
            "seconds": round(self.seconds, 1),
            "deferred": list(self.deferred),
        }

    def as_text(self) -> str:
        """Return the text for the operator."""
        if not self.differences:
            return "no drift: all compared hosts and objects are as applied"
        lines = []
        for host, found in self.differences.items():
            lines.append(f"{host}:")
            lines += [f"    {line}" for text in found for line in text.splitlines()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class DestroyResult:
    """Stacks whose management has ended. Hosts keep everything."""

    stacks: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        return {"destroyed": list(self.stacks), "seconds": round(self.seconds, 1)}
