"""The project's estate with one of its services, for tests of daemons that need no other one."""

from __future__ import annotations

from estate.model import Estate


def only(estate: Estate, name: str) -> Estate:
    """Return the estate with this service and without the carrier of messages."""
    return estate.model_copy(update={"services": (estate.service(name),), "carrier": None})
