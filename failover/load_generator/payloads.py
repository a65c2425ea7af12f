"""What the applicants write on their form.

The seam to the service: `approval.people.applicant(seed, n) -> dict` is copied beside this package. Nothing else of the
service is used; the digest is computed here, independently, because it is what the database rows are compared with.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any


class PayloadSourceMissing(Exception):
    """`approval.people` is not beside this package."""


def load(source: str = "approval.people") -> Any:
    """The module that makes applicants; checked here, so that a wrong copy is found before the first request."""
    try:
        module = importlib.import_module(source)
    except ImportError as error:
        raise PayloadSourceMissing(f"cannot import {source}: {error}; copy it beside the load generator") from error
    if not callable(getattr(module, "applicant", None)):
        raise PayloadSourceMissing(f"{source} has no function applicant(seed, n)")
    return module


def payload(source: Any, seed: int, n: int) -> dict[str, Any]:
    """The form of applicant `n`, always marked as synthetic."""
    return {**source.applicant(seed, n), "synthetic": True}


def digest(value: dict[str, Any]) -> str:
    """SHA-256 of the canonical form (sorted keys, no blanks, UTF-8), in hexadecimal: the service's own definition."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
