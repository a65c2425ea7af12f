"""The application forms that the load generator sends.

It uses one function of the service, `approval.people.applicant(seed, n) -> dict`, which is copied next to this package.
The digest is computed here, independently of the service, because the database rows are compared with it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any


class PayloadSourceMissing(Exception):
    """`approval.people` was not copied next to this package."""


def load(source: str = "approval.people") -> Any:
    """Return the module that generates applicants. A wrong copy is detected here, before the first request."""
    try:
        module = importlib.import_module(source)
    except ImportError as error:
        raise PayloadSourceMissing(f"cannot import {source}: {error}; copy it next to the load generator") from error
    if not callable(getattr(module, "applicant", None)):
        raise PayloadSourceMissing(f"{source} has no function applicant(seed, n)")
    return module


def payload(source: Any, seed: int, n: int) -> dict[str, Any]:
    """Return the form of applicant `n`, always marked as synthetic."""
    return {**source.applicant(seed, n), "synthetic": True}


def digest(value: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical form (sorted keys, no blanks, UTF-8) in hexadecimal, as the service defines
    it."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
