"""The requests that the load generator sends: the synthetic client of the measured service builds them.

The client is the module `synthetic_client`, which is copied next to this package. The digest is computed here,
independently of the service, because the database rows are compared with it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any, Protocol, cast


class SyntheticClient(Protocol):
    """The functions of a service's synthetic client."""

    def body(self, seed: int, n: int) -> dict[str, Any]:
        """Return the body of the write of person `n`, marked as synthetic. It depends only on the arguments."""

    def write_path(self) -> str:
        """Return the path to which a body is sent (POST), with an idempotency key."""

    def read_path(self, key: str) -> str:
        """Return the path at which the answer to the write with this key is read (GET)."""


class ClientMissing(Exception):
    """The synthetic client was not copied next to this package, or it is not one."""


def load(source: str = "synthetic_client") -> SyntheticClient:
    """Return the synthetic client. A wrong copy is detected here, before the first request."""
    try:
        module = importlib.import_module(source)
    except ImportError as error:
        raise ClientMissing(f"cannot import {source}: {error}; copy it next to the load generator") from error
    for name in ("body", "write_path", "read_path"):
        if not callable(getattr(module, name, None)):
            raise ClientMissing(f"{source} has no function {name}")
    return cast(SyntheticClient, module)


def digest(value: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical form (sorted keys, no blanks, UTF-8) in hexadecimal, as the service defines
    it."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
